// Exact numbers. Prices and quantities come as integers in text, in units of 10^-decimals (types.proto); money as decimal numbers in text. Neither fits a
// double in every case, so nothing here is ever a floating-point number.

const DECIMAL = /^([+-]?)(\d*)(?:\.(\d*))?$/;

// "18950", 2 -> "189.50". Absent stays "".
export function fromUnits(units, decimals) {
  if (units === undefined || units === null || units === "") return "";
  const value = BigInt(units);
  const digits = (value < 0n ? -value : value).toString().padStart(decimals + 1, "0");
  const sign = value < 0n ? "-" : "";
  return decimals ? `${sign}${digits.slice(0, -decimals)}.${digits.slice(-decimals)}` : sign + digits;
}

// "189.5", 2 -> 18950n. Throws an Error that says what is wrong with it.
export function toUnits(text, decimals, what) {
  const { negative, whole, fraction } = parts(text, what);
  if (fraction.length > decimals) throw new Error(`${what} ${text} has more than ${decimals} digits after the point`);
  const value = BigInt(whole + fraction.padEnd(decimals, "0") || "0");
  return negative ? -value : value;
}

// Sum of decimal numbers in text, as text with the digits of the longest.
export function sum(texts) {
  const all = texts.filter(Boolean).map((text) => parts(text, "number"));
  const decimals = all.reduce((most, one) => Math.max(most, one.fraction.length), 0);
  let total = 0n;
  for (const { negative, whole, fraction } of all) {
    const value = BigInt(whole + fraction.padEnd(decimals, "0") || "0");
    total += negative ? -value : value;
  }
  return fromUnits(total, decimals);
}

// "1234567.8" -> "1,234,567.8", with a true minus sign, for people.
export function grouped(text) {
  const [whole, fraction] = text.replace("-", "").split(".");
  const groups = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return (text.startsWith("-") ? "\u2212" : "") + groups + (fraction === undefined ? "" : `.${fraction}`);
}

// Quantities without zeros that say nothing: "0.50000000" -> "0.5".
export function trimmed(text) {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

// -1, 0 or 1.
export function signOf(text) {
  if (!text || !/[1-9]/.test(text)) return 0;
  return text.startsWith("-") ? -1 : 1;
}

// Money for people: at least two digits after the point, at most two of what is longer, cut towards zero.
export function money(text) {
  if (!text) return "";
  const [whole, fraction = ""] = text.split(".");
  return grouped(`${whole}.${fraction.padEnd(2, "0").slice(0, 2)}`);
}

function parts(text, what) {
  const found = DECIMAL.exec(String(text).trim());
  if (!found || !(found[2] || found[3])) throw new Error(`${what} ${JSON.stringify(text)} is not a number`);
  return { negative: found[1] === "-", whole: found[2], fraction: found[3] ?? "" };
}
