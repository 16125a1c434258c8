// The Connect protocol with JSON (https://connectrpc.com/docs/protocol), over fetch: unary calls and server streams.

const SERVICES = "/aviary.toucan.v1.";
const HEADER_BYTES = 5;
// Far above a message of the gateway; a length beyond it is not one of ours.
const ENVELOPE_BYTES_MAX = 32 << 20;
const END_OF_STREAM = 2;
// A login looks up a token; who cannot answer that in time is not there.
const SESSION_MS = 10_000;

// What went wrong with a call. `code` as in Connect; `denial` or `refusal` as the engine said it; `isUnknown`: it may or may not have been carried out.
export class CallError extends Error {
  constructor(code, message, details = []) {
    super(message || code);
    this.code = code;
    const detail = (name) => details.find((one) => one.type?.endsWith(`.${name}`))?.debug;
    this.denial = detail("Denial");
    this.refusal = detail("Refusal");
    this.isUnknown = code === "unreachable" || code === "unavailable" || code === "internal" || code === "unknown" || (code === "deadline_exceeded" && !this.refusal);
  }

  // Nobody is logged in (any more).
  get isLoggedOut() {
    return this.code === "unauthenticated" || this.refusal?.code === "CSRF_TOKEN_MISSING";
  }
}

function headers(csrf, contentType, timeoutMs) {
  const all = { "content-type": contentType, "connect-protocol-version": "1" };
  if (csrf) all["x-toucan-csrf"] = csrf;
  if (timeoutMs) all["connect-timeout-ms"] = String(timeoutMs);
  return all;
}

async function errorOf(answer) {
  const body = await answer.json().catch(() => ({}));
  return new CallError(body.code ?? (answer.status >= 500 ? "unavailable" : "unknown"), body.message ?? `HTTP ${answer.status}`, body.details);
}

// One call. Raises CallError.
export async function call(method, request, { csrf, timeoutMs = 5000 }) {
  // The answer to a call whose time is over is waited for a little longer: the engine's own word is better than ours.
  const signal = AbortSignal.timeout(timeoutMs + 1000);
  let answer;
  try {
    answer = await fetch(SERVICES + method, { method: "POST", headers: headers(csrf, "application/json", timeoutMs), body: JSON.stringify(request), signal });
    if (answer.ok) return await answer.json();
  } catch (error) {
    throw new CallError("unreachable", error.name === "TimeoutError" ? `no answer within ${timeoutMs / 1000} s` : "the gateway cannot be reached");
  }
  throw await errorOf(answer);
}

// Cuts what arrives into envelopes: {flags, message}.
export class Envelopes {
  constructor() {
    this.chunks = [];
    this.size = 0;
  }

  push(chunk) {
    this.chunks.push(chunk);
    this.size += chunk.length;
    const found = [];
    while (this.size >= HEADER_BYTES) {
      const bytes = this.joined();
      const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
      if (length > ENVELOPE_BYTES_MAX) throw new CallError("internal", `a message of ${length} bytes is more than a message may have`);
      if (bytes.length < HEADER_BYTES + length) break;
      const text = new TextDecoder().decode(bytes.subarray(HEADER_BYTES, HEADER_BYTES + length));
      found.push({ flags: bytes[0], message: JSON.parse(text) });
      this.chunks = [bytes.subarray(HEADER_BYTES + length)];
      this.size = this.chunks[0].length;
    }
    return found;
  }

  joined() {
    if (this.chunks.length === 1) return this.chunks[0];
    const bytes = new Uint8Array(this.size);
    let at = 0;
    for (const chunk of this.chunks) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    this.chunks = [bytes];
    return bytes;
  }
}

export function envelope(request) {
  const body = new TextEncoder().encode(JSON.stringify(request));
  const bytes = new Uint8Array(HEADER_BYTES + body.length);
  new DataView(bytes.buffer).setUint32(1, body.length);
  bytes.set(body, HEADER_BYTES);
  return bytes;
}

// The messages of a stream, until it ends; an end without a word, or with an error, raises CallError.
export async function* stream(method, request, { csrf, signal }) {
  const end = (error) => new CallError("unreachable", signal.aborted && signal.reason?.message ? signal.reason.message : error);
  let reader;
  try {
    const answer = await fetch(SERVICES + method, { method: "POST", headers: headers(csrf, "application/connect+json"), body: envelope(request), signal });
    if (!answer.ok) throw await errorOf(answer);
    reader = answer.body.getReader();
    yield null; // It is open, and has said nothing yet.
    const envelopes = new Envelopes();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw end("the stream was broken off");
      for (const { flags, message } of envelopes.push(value)) {
        if (!(flags & END_OF_STREAM)) yield message;
        else if (message.error) throw new CallError(message.error.code, message.error.message, message.error.details);
        else return;
      }
    }
  } catch (error) {
    throw error instanceof CallError ? error : end("the gateway cannot be reached");
  } finally {
    reader?.cancel().catch(() => {});
  }
}

// Who is logged in: {user, csrf}, or null.
export async function session() {
  const answer = await fetch("/session", { signal: AbortSignal.timeout(SESSION_MS) }).catch(() => null);
  if (!answer) throw new CallError("unreachable", "the gateway cannot be reached");
  return answer.ok ? answer.json() : null;
}

export async function logIn(token) {
  const body = JSON.stringify(token ? { token } : {});
  const answer = await fetch("/session", { method: "POST", headers: { "content-type": "application/json" }, body, signal: AbortSignal.timeout(SESSION_MS) }).catch(() => null);
  if (!answer) throw new CallError("unreachable", "the gateway cannot be reached");
  if (!answer.ok) throw await errorOf(answer);
  return answer.json();
}

export async function logOut(csrf) {
  await fetch("/session", { method: "DELETE", headers: { "x-toucan-csrf": csrf } }).catch(() => null);
}
