"""Broken specs whose shape or names are wrong, and what is said about each, word for word: messages are all that their author sees."""

from __future__ import annotations

from tests.labtest.spec.good_spec import Case

__all__ = ["CASES"]

CASES = [
    Case("not TOML", "port = 9100", "port = ", "lab.toml:5: it is not TOML: invalid value"),
    Case(
        "not ended",
        'variables.memory = "1GiB"\n',
        'variables.memory = "1GiB',
        "lab.toml:44: it is not TOML: unterminated string",
    ),
    Case(
        "table twice",
        "[tools.cashy]",
        "[files.keys]\n[tools.cashy]",
        "lab.toml:40: it is not TOML: cannot declare 'files.keys' twice",
    ),
    Case(
        "unknown table",
        "[tools.cashy]",
        "[tool.cashy]",
        "lab.toml:40: tool: this key is unknown; did you mean 'tools'?",
    ),
    Case(
        "unknown key of a host",
        'kind = "namespace"',
        'knid = "namespace"',
        "lab.toml:8: hosts.cache1.knid: this key is unknown; did you mean 'kind'?",
    ),
    Case(
        "unknown key of a process",
        'after = ["store"]',
        'requires = ["store"]',
        (
            "lab.toml:21: processes.cashy.requires: this key is unknown; known are hosts, unit, template, after, "
            "releases, files, health, variables, start_timeout_s, stop_timeout_s, batch_size, debug"
        ),
    ),
    Case(
        "unknown key of a health check",
        'kind = "tcp", ',
        'kind = "tcp", retries = 3, ',
        (
            "lab.toml:24: processes.cashy.health.retries: this key is unknown; known are kind, target, command, "
            "timeout_s, interval_s, stable_s"
        ),
    ),
    Case(
        "unknown key in a list",
        'on_change = "reload"',
        'onchange = "reload"',
        "lab.toml:23: processes.cashy.files[1].onchange: this key is unknown; did you mean 'on_change'?",
    ),
    Case(
        "several at once",
        'kind = "namespace"\ngroups = ["cache"]',
        'kind = "vm"\ngroup = ["cache"]',
        (
            "lab.toml:8: hosts.cache1.kind: it cannot be 'vm'; possible are ssh, namespace, local\n"
            "lab.toml:9: hosts.cache1.group: this key is unknown; did you mean 'groups'?"
        ),
    ),
    Case("no name", 'name = "floor"\n', "", "lab.toml: the key 'name' is missing"),
    Case(
        "no hosts of a process",
        'hosts = ["desk"]\n',
        "",
        "lab.toml:14: processes.store: the key 'hosts' is missing",
    ),
    Case(
        "no source of a release",
        'source = ["wheels/*-{{ release.version }}-*.whl"]\n',
        "",
        "lab.toml:35: releases.aviary: the key 'source' is missing",
    ),
    Case(
        "no path of a file",
        'path = "/etc/aviary/cashy.toml"\n',
        "",
        "lab.toml:26: files.config: the key 'path' is missing",
    ),
    Case(
        "number for text",
        'ssh = "ops@desk"',
        "ssh = 22",
        "lab.toml:12: hosts.desk.ssh: it must be text, and is a whole number; put it in quotes",
    ),
    Case(
        "text for a number",
        'after = ["store"]',
        'batch_size = "2"',
        (
            "lab.toml:21: processes.cashy.batch_size: it must be a whole number, and is text; leave the quotes "
            "out"
        ),
    ),
    Case(
        "text for a list",
        'after = ["store"]',
        'after = "store"',
        "lab.toml:21: processes.cashy.after: it must be a list, and is text; put it in brackets",
    ),
    Case(
        "number in a list",
        'after = ["store"]',
        'after = ["store", 7]',
        "lab.toml:21: processes.cashy.after[1]: it must be text, and is a whole number; put it in quotes",
    ),
    Case(
        "list for a variable",
        "port = 9100",
        "port = [9100]",
        "lab.toml:5: variables.port: it must be text, a number, or true or false, and is a list",
    ),
    Case(
        "table for a variable",
        "port = 9100",
        "port = { s3 = 9100 }",
        "lab.toml:5: variables.port: it must be text, a number, or true or false, and is a table",
    ),
    Case(
        "date for a variable",
        "port = 9100",
        "port = 2026-01-01",
        "lab.toml:5: variables.port: it must be text, a number, or true or false, and is a date",
    ),
    Case(
        "number for a file",
        'files = ["config", ',
        "files = [1, ",
        "lab.toml:23: processes.cashy.files[0]: it must be text or a table, and is a whole number",
    ),
    Case(
        "unknown kind of host",
        'kind = "namespace"',
        'kind = "namespaces"',
        "lab.toml:8: hosts.cache1.kind: it cannot be 'namespaces'; did you mean 'namespace'?",
    ),
    Case(
        "unknown on_change",
        'on_change = "reload"',
        'on_change = "kill"',
        (
            "lab.toml:23: processes.cashy.files[1].on_change: it cannot be 'kill'; possible are restart, reload, "
            "nothing"
        ),
    ),
    Case(
        "unknown debugger",
        'after = ["store"]',
        'debug = "lldb"',
        "lab.toml:21: processes.cashy.debug: it cannot be 'lldb'; possible are py-spy, gdb, pdb, strace",
    ),
    Case(
        "mode as a number",
        'mode = "0640"',
        "mode = 640",
        "lab.toml:33: files.keys.mode: it must be text, and is a whole number; put it in quotes",
    ),
    Case(
        "name of the environment",
        'name = "floor"',
        'name = "Trading Floor"',
        (
            "lab.toml:1: name: 'Trading Floor' is not a name: names have small letters, digits and '-', and "
            "begin with a letter or digit; how about 'trading-floor'?"
        ),
    ),
    Case(
        "name of a host",
        "[hosts.desk]",
        "[hosts.Desk]",
        (
            "lab.toml:11: hosts.Desk: 'Desk' is not a name: names have small letters, digits and '-', and begin "
            "with a letter or digit; how about 'desk'?\n"
            "lab.toml:15: processes.store.hosts[0]: there is no host 'desk'; did you mean 'Desk'?"
        ),
    ),
    Case(
        "name that is too long",
        "[hosts.desk]",
        ("[hosts.dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd]"),
        (
            "lab.toml:11: hosts.dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd: a name has at "
            "most 63 characters, and this has 64\n"
            "lab.toml:15: processes.store.hosts[0]: there is no host 'desk'; there are cache1, cache2, "
            "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
        ),
    ),
    Case(
        "name of a variable",
        "port = 9100",
        "cache-port = 9100",
        (
            "lab.toml:5: variables.cache-port: 'cache-port' is not a name of a variable: these have letters, "
            "digits and '_', and begin with a letter; how about 'cache_port'?"
        ),
    ),
    Case(
        "name that templates have",
        "port = 9100",
        "host = 9100",
        "lab.toml:5: variables.host: templates have 'host' for something else; take another name",
    ),
    Case(
        "name of a group",
        'groups = ["cache"]',
        'groups = ["all"]',
        (
            "lab.toml:9: groups.all: every host is in 'all' anyway\n"
            "lab.toml:19: processes.cashy.hosts[0]: there is no group 'cache'; there are all"
        ),
    ),
    Case(
        "name of an overlay",
        "[overlays.big]",
        '[overlays."big one"]',
        (
            "lab.toml:43: overlays: 'big one' is not a name: names have small letters, digits and '-', and begin "
            "with a letter or digit; how about 'big-one'?"
        ),
    ),
    Case(
        "number that is none",
        "port = 9100",
        "port = nan",
        "lab.toml:5: variables.port: nan is not a number that a variable can have",
    ),
    Case(
        "range backwards",
        "cache[1-2]",
        "cache[2-1]",
        "lab.toml:7: hosts: 'cache[2-1]' counts backwards; how about [1-2]?",
    ),
    Case(
        "range of letters",
        "cache[1-2]",
        "cache[a-c]",
        "lab.toml:7: hosts: 'cache[a-c]' has 'a-c' where a range such as [1-3] or [1,4-6] is meant",
    ),
    Case(
        "range that is huge",
        "cache[1-2]",
        "cache[1-1000000]",
        "lab.toml:7: hosts: 'cache[1-1000000]' stands for too many names; 1000 are possible",
    ),
    Case(
        "two ranges",
        "cache[1-2]",
        "r[1-2]c[1-2]",
        "lab.toml:7: hosts: 'r[1-2]c[1-2]' has two ranges; one is possible",
    ),
    Case(
        "host twice",
        "[hosts.desk]",
        "[hosts.cache2]",
        "lab.toml:11: hosts.cache2: it is there already; say it in one place",
    ),
    Case(
        "unknown name in an address",
        'ssh = "ops@desk"',
        'ssh = "ops@{{ nme }}"',
        "lab.toml:12: hosts.desk.ssh: unknown variable 'nme'; did you mean 'name'?",
    ),
    Case(
        "unknown host",
        'hosts = ["desk"]',
        'hosts = ["dsk"]',
        "lab.toml:15: processes.store.hosts[0]: there is no host 'dsk'; did you mean 'desk'?",
    ),
    Case(
        "group without @",
        'hosts = ["@cache"]',
        'hosts = ["cache"]',
        "lab.toml:19: processes.cashy.hosts[0]: there is no host 'cache'; did you mean '@cache'?",
    ),
    Case(
        "unknown group",
        'hosts = ["@cache"]',
        'hosts = ["@cahe"]',
        "lab.toml:19: processes.cashy.hosts[0]: there is no group 'cahe'; did you mean 'cache'?",
    ),
    Case(
        "pattern without a match",
        'hosts = ["@cache"]',
        'hosts = ["cahe*"]',
        "lab.toml:19: processes.cashy.hosts[0]: no host matches 'cahe*'; did you mean 'cache2'?",
    ),
    Case(
        "no host named",
        'hosts = ["desk"]',
        "hosts = []",
        "lab.toml:15: processes.store.hosts: it names no host; all are '@all'",
    ),
    Case(
        "no host left",
        'hosts = ["@cache"]',
        'hosts = ["@cache", "!cache*"]',
        "lab.toml:19: processes.cashy.hosts: no host is left",
    ),
    Case(
        "group that nobody is in",
        "[hosts.desk]",
        "[groups]\nspare = []\n[hosts.desk]",
        "lab.toml:12: groups.spare: no host is in it",
    ),
    Case(
        "group of groups",
        "[hosts.desk]",
        '[groups]\nevery = ["@cache", "desk"]\n[hosts.desk]',
        "lab.toml:12: groups.every[0]: '@cache' is a group; a group is made of hosts",
    ),
    Case(
        "unknown process",
        'after = ["store"]',
        'after = ["stor"]',
        "lab.toml:21: processes.cashy.after[0]: there is no process 'stor'; did you mean 'store'?",
    ),
    Case(
        "process twice in after",
        'after = ["store"]',
        'after = ["store", "store"]',
        "lab.toml:21: processes.cashy.after[1]: 'store' is there twice",
    ),
    Case(
        "after itself",
        'after = ["store"]',
        'after = ["cashy"]',
        "lab.toml:21: processes.cashy.after: it starts after itself",
    ),
    Case(
        "cycle",
        'template = "store.service.j2"',
        'after = ["web"]\n[processes.web]\nhosts = ["@all"]\nafter = ["cashy"]',
        "lab.toml:16: processes.store.after: processes wait for each other: store -> web -> cashy -> store",
    ),
    Case(
        "unknown release",
        'releases = ["aviary"]',
        'releases = ["avairy"]',
        "lab.toml:22: processes.cashy.releases[0]: there is no release 'avairy'; did you mean 'aviary'?",
    ),
    Case(
        "unknown file",
        'files = ["config", ',
        'files = ["confg", ',
        "lab.toml:23: processes.cashy.files[0]: there is no file 'confg'; did you mean 'config'?",
    ),
    Case(
        "unknown host of a tool",
        "[tools.cashy]",
        '[tools.cashy]\nhost = "desktop"',
        "lab.toml:41: tools.cashy.host: there is no host 'desktop'; did you mean 'desk'?",
    ),
    Case(
        "no host at all",
        ('[hosts."cache[1-2]"]\nkind = "namespace"\ngroups = ["cache"]\n\n[hosts.desk]\nssh = "ops@desk"\n'),
        "[hosts]\n",
        "lab.toml:7: hosts: an environment has at least one host",
    ),
]
