"""Broken specs that are found out when they are rendered on trial, and what is said about each, word for word."""

from __future__ import annotations

from tests.labtest.spec.good_spec import Case

__all__ = ["CASES"]

CASES = [
    Case(
        "no template there",
        '"cashy.toml.j2"',
        '"cashy.tml.j2"',
        (
            "lab.toml:27: files.config.template: there is no file 'cashy.tml.j2' beside the spec; did you mean "
            "'cashy.toml.j2'?"
        ),
    ),
    Case(
        "no folder there",
        '"keys.csv"',
        '"private/keys.csv"',
        (
            "lab.toml:31: files.keys.copy: there is no file 'private/keys.csv' beside the spec; there is no "
            "folder 'private'"
        ),
    ),
    Case(
        "no copy there",
        '"keys.csv"',
        '"key.csv"',
        "lab.toml:31: files.keys.copy: there is no file 'key.csv' beside the spec; did you mean 'keys.csv'?",
    ),
    Case(
        "absolute source",
        '"keys.csv"',
        '"/etc/passwd"',
        (
            "lab.toml:31: files.keys.copy: '/etc/passwd' begins with '/'; sources are named relative to the "
            "spec's folder"
        ),
    ),
    Case(
        "source outside",
        '"keys.csv"',
        '"../keys.csv"',
        "lab.toml:31: files.keys.copy: '../keys.csv' leads out of the spec's folder; sources are inside it",
    ),
    Case(
        "no wheel",
        'version = "1.4.0"',
        'version = "1.5.0"',
        "lab.toml:37: releases.aviary.source[0]: no file beside the spec matches 'wheels/*-1.5.0-*.whl'",
    ),
    Case(
        "pattern with **",
        'source = ["wheels/*-{{ release.version }}-*.whl"]',
        'source = ["wheels/**"]',
        (
            "lab.toml:37: releases.aviary.source[0]: 'wheels/**' has '**'; name the folder, and all that is in "
            "it comes along"
        ),
    ),
    Case(
        "two sources of one name",
        'source = ["wheels/*-{{ release.version }}-*.whl"]',
        'source = ["wheels/*.whl", "old/*.whl"]',
        (
            "lab.toml:37: releases.aviary.source[1]: 'wheels/aviary-1.4.0-py3.whl' and "
            "'old/aviary-1.4.0-py3.whl' would both be copied to 'aviary-1.4.0-py3.whl'"
        ),
        files={"old/aviary-1.4.0-py3.whl": "old"},
    ),
    Case(
        "unknown variable in a template",
        "",
        "",
        "cashy.toml.j2:2: unknown variable 'memry'; did you mean 'memory'?",
        files={"cashy.toml.j2": '\nmemory = "{{ memry }}"\n'},
    ),
    Case(
        "unknown attribute in a template",
        "",
        "",
        "cashy.toml.j2:2: host has no 'adress'; did you mean 'address'?",
        files={"cashy.toml.j2": "{% if true %}\n{{ host.adress }}\n{% endif %}"},
    ),
    Case(
        "template that is none",
        "",
        "",
        (
            "cashy.toml.j2:2: it is not a template: Unexpected end of template. Jinja was looking for the "
            "following tags: 'elif' or 'else' or 'endif'. The innermost block that needs to be closed is 'if'."
        ),
        files={"cashy.toml.j2": "a\n{% if memory %}\n"},
    ),
    Case(
        "template that takes another in",
        "",
        "",
        "cashy.toml.j2:1: a template cannot include others: it is rendered alone",
        files={"cashy.toml.j2": '{% include "keys.csv" %}'},
    ),
    Case(
        "template that divides by zero",
        "",
        "",
        "cashy.toml.j2:1: ZeroDivisionError: integer division or modulo by zero",
        files={"cashy.toml.j2": "{{ port // 0 }}"},
    ),
    Case(
        "template that reaches further",
        "",
        "",
        "cashy.toml.j2:1: it may not use '__class__' of '': a template is kept from what could do harm",
        files={"cashy.toml.j2": "{{ ''.__class__ }}"},
    ),
    Case(
        "template with an unknown process",
        "",
        "",
        "cashy.toml.j2:1: there is no process 'stor'; did you mean 'store'?",
        files={"cashy.toml.j2": "{{ address('stor') }}"},
    ),
    Case(
        "unknown variable in the spec",
        'path = "/etc/aviary/cashy.toml"',
        'path = "/etc/{{ product }}/cashy.toml"',
        (
            "lab.toml:28: files.config.path: unknown variable 'product'; there are address, environment, host, "
            "hosts, instances, memory, port, process"
        ),
    ),
    Case(
        "unknown variable in a tool",
        "{{ address('cashy') }}",
        "{{ adress('cashy') }}",
        "lab.toml:41: tools.cashy.run[2]: unknown variable 'adress'; did you mean 'address'?",
    ),
    Case(
        "unit without a suffix",
        'unit = "cashy-master@default.service"',
        'unit = "cashy-master"',
        (
            "lab.toml:20: processes.cashy.unit: 'cashy-master' is not the name of a unit; did you mean "
            "'cashy-master.service'?"
        ),
    ),
    Case(
        "unit without an instance",
        'unit = "cashy-master@default.service"',
        'unit = "cashy-master@.service"',
        (
            "lab.toml:20: processes.cashy.unit: 'cashy-master@.service' is a template of units; name an "
            "instance, such as 'cashy-master@default.service'"
        ),
    ),
    Case(
        "unit twice on a host",
        'hosts = ["desk"]',
        'hosts = ["cache1"]\nunit = "cashy-master@default.service"',
        (
            "lab.toml:21: processes.cashy.unit: it is cashy-master@default.service on host 'cache1', and so is "
            "that of process 'store'; each process of a host has a unit of its own"
        ),
    ),
    Case(
        "path twice on a host",
        'path = "/etc/aviary/keys.csv"',
        'path = "/etc/aviary/cashy.toml"',
        (
            "lab.toml:32: files.keys.path: /etc/aviary/cashy.toml on host 'cache1' would be two things: file "
            "'config' and file 'keys'"
        ),
    ),
    Case(
        "file that is a unit's",
        'path = "/etc/aviary/keys.csv"',
        'path = "/etc/systemd/system/store.service"\nhosts = ["desk"]',
        (
            "lab.toml:32: files.keys.path: /etc/systemd/system/store.service on host 'desk' would be two things: "
            "the unit of process 'store' and file 'keys'"
        ),
    ),
    Case(
        "file that differs",
        'template = "store.service.j2"',
        ('files = ["config"]\n[processes.web]\nhosts = ["desk"]\nfiles = ["config"]'),
        (
            "lab.toml:31: files.config.path: /etc/aviary/cashy.toml on host 'desk' comes out differently for "
            "processes 'store' and 'web'; give each its own path (such as one with {{ process.name }}), or make "
            "the file the same for both"
        ),
        files={"cashy.toml.j2": "# {{ process }}\n{{ process.index }}"},
    ),
    Case(
        "path that is relative",
        'path = "/etc/aviary/keys.csv"',
        'path = "etc/keys.csv"',
        "lab.toml:32: files.keys.path: 'etc/keys.csv' is relative; a path on a host begins with '/'",
    ),
    Case(
        "path that goes up",
        'path = "/etc/aviary/keys.csv"',
        'path = "/etc/../keys.csv"',
        (
            "lab.toml:32: files.keys.path: '/etc/../keys.csv' is not the plain path of a file (no '..', no '//', "
            "no '/' at the end)"
        ),
    ),
    Case(
        "target that is none",
        'target = "{{ host.address }}:{{ port }}"',
        'target = "{{ host.address }}"',
        "lab.toml:24: processes.cashy.health.target: 'cache1' is not HOST:PORT",
    ),
    Case(
        "URL that is none",
        'kind = "tcp", target = "{{ host.address }}:{{ port }}"',
        'kind = "http", target = "https://{{ host.address }}/"',
        (
            "lab.toml:24: processes.cashy.health.target: 'https://cache1/' is not a URL such as "
            "'http://10.0.0.1:9100/healthy'"
        ),
    ),
    Case(
        "version that is no name of a folder",
        'version = "1.4.0"',
        'version = "1.4/0"',
        (
            "lab.toml:36: releases.aviary.version: '1.4/0' is not a version: letters, digits and '._+~-', such "
            "as '1.4.0'"
        ),
    ),
    Case(
        "placeholder that is none",
        '"{target}"',
        '"{targets}"',
        (
            "lab.toml:38: releases.aviary.install[3]: '{targets}' is not filled in; only '{target}' is, the "
            "folder to install to"
        ),
    ),
]
