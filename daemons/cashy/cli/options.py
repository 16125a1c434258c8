"""Command-line options made from the table of settings, and read back into it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from cashy.setting_values import format_size
from cashy.settings import (
    DEFAULT_CONFIG_PATH,
    SettingField,
    Settings,
    load_settings,
    parse_disk_option,
    parse_origin_option,
    parse_peer_option,
    setting_fields,
)

__all__ = ["command_line_of", "default_text", "overrides_of", "settings_from", "settings_options"]

_Function = TypeVar("_Function", bound=Callable[..., Any])

_METAVARS = {
    "size": "SIZE",
    "path": "PATH",
    "address": "HOST:PORT",
    "URL": "URL",
    "whole number": "N",
    "number": "NUMBER",
    "text": "TEXT",
}
#: Options that are given once for each table of a list: how one is written, and how it is read.
_LISTS: dict[str, tuple[str, Callable[[str], dict[str, object]]]] = {
    "origin": ("s3=URL|s3-anonymous=URL|file=DIR", parse_origin_option),
    "peer": ("NAME=HOST:PORT[,WEIGHT]", parse_peer_option),
    "disk": ("DIR=SIZE", parse_disk_option),
}
_CONFIG_HELP = "TOML file of settings (docs/cashy-settings.md); options given here go before it. "
_CONFIG_DEFAULT = f"[default: $CASHY_CONFIG, else {DEFAULT_CONFIG_PATH} if it exists]"


def settings_options(command: str) -> Callable[[_Function], _Function]:
    """Decorates a click command with ``--config`` and the options of all settings that ``command`` takes."""

    def decorate(function: _Function) -> _Function:
        for field in reversed(_fields_for(command)):
            function = _option(field)(function)
        # `cashy dev` reads no file unasked: what it runs does not depend on the host's own configuration.
        help_text = _CONFIG_HELP + ("[default: none]" if command == "dev" else _CONFIG_DEFAULT)
        return click.option("--config", type=click.Path(path_type=Path), help=help_text)(function)

    return decorate


def _fields_for(command: str) -> list[SettingField]:
    return [field for field in setting_fields() if field.option and command in field.commands]


def _option(field: SettingField) -> Callable[[_Function], _Function]:
    help_text = f"{field.help_text} [{default_text(field)}]"
    name = field.path.replace(".", "__")
    if field.path in _LISTS:
        return click.option(
            field.option,
            name,
            multiple=True,
            metavar=_LISTS[field.path][0],
            help=f"{field.help_text} Replaces the file's.",
        )
    if field.type_name == "true or false":
        switch = f"{field.option}/--no-{field.option.removeprefix('--')}"
        return click.option(switch, name, default=None, help=help_text)
    if field.choices:
        return click.option(field.option, name, type=click.Choice(field.choices), help=help_text)
    kind: click.ParamType[Any] = {"whole number": click.INT, "number": click.FLOAT}.get(
        field.type_name, click.STRING
    )  # type: ignore[assignment]
    return click.option(field.option, name, type=kind, metavar=_METAVARS[field.type_name], help=help_text)


def default_text(field: SettingField) -> str:
    """A setting's default with its unit, for help texts and reference pages."""
    if field.required:
        return "required"
    match field.default:
        case None | "" | ():
            return "default: none"
        case bool():
            return f"default: {str(field.default).lower()}"
        case int() if field.type_name == "size":
            return f"default: {format_size(field.default)}"
        case _:
            return f"default: {field.default} {field.unit}".rstrip()


def overrides_of(parameters: Mapping[str, Any]) -> dict[str, object]:
    """Gives the settings that the command line names, keyed as :func:`cashy.settings.load_settings` wants them."""
    overrides: dict[str, object] = {}
    for field in setting_fields():
        value = parameters.get(field.path.replace(".", "__"))
        if value is None or value == ():
            continue
        if field.path in _LISTS:
            overrides[field.path] = [_table(field, text) for text in value]
        else:
            overrides[field.path] = str(Path(value).absolute()) if field.type_name == "path" else value
    return overrides


def _table(field: SettingField, text: str) -> dict[str, object]:
    try:
        return _LISTS[field.path][1](text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=field.option) from None


def settings_from(parameters: Mapping[str, Any]) -> Settings:
    """Loads the settings that a command's parameters ask for; raises ConfigError."""
    config = parameters["config"]
    if config is None and os.environ.get("CASHY_CONFIG"):
        config = Path(os.environ["CASHY_CONFIG"])
    if config is None and Path(DEFAULT_CONFIG_PATH).exists():
        config = Path(DEFAULT_CONFIG_PATH)
    return load_settings(config, overrides_of(parameters))


def command_line_of(command: str, config: Path | None, parameters: Mapping[str, Any]) -> list[str]:
    """Writes parameters down again as the arguments of ``cashy COMMAND``, leaving out what it does not take.

    Without ``config`` the command reads no file, not even the default one: what ``cashy dev`` runs does not
    depend on the host's own configuration.
    """
    arguments = [command, "--config", str(config or os.devnull)]
    for field in _fields_for(command):
        value = parameters.get(field.path.replace(".", "__"))
        if value is None or value == ():
            continue
        if isinstance(value, bool):
            arguments.append(field.option if value else f"--no-{field.option.removeprefix('--')}")
        else:
            for single in value if isinstance(value, tuple) else (value,):
                arguments += [field.option, str(single)]
    return arguments
