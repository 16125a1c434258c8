"""Broken specs with values that cannot be, wrong overlays and variables, and what is said about each, word for word."""

from __future__ import annotations

from tests.labtest.spec.good_spec import Case

__all__ = ["CASES"]

CASES = [
    Case(
        "no time",
        'after = ["store"]',
        "start_timeout_s = 0",
        (
            "lab.toml:21: processes.cashy.start_timeout_s: it must be more than 0, at most 86400 seconds, and is "
            "0"
        ),
    ),
    Case(
        "endless time",
        'after = ["store"]',
        "stop_timeout_s = inf",
        (
            "lab.toml:21: processes.cashy.stop_timeout_s: it must be more than 0, at most 86400 seconds, and is "
            "inf"
        ),
    ),
    Case(
        "no batch",
        'after = ["store"]',
        "batch_size = 0",
        "lab.toml:21: processes.cashy.batch_size: it must be at least 1, and is 0",
    ),
    Case(
        "bad mode",
        'mode = "0640"',
        'mode = "0690"',
        "lab.toml:33: files.keys.mode: '0690' is not a mode such as '0640' (octal digits)",
    ),
    Case(
        "bad owner",
        'mode = "0640"',
        'owner = "Root User"',
        "lab.toml:33: files.keys.owner: 'Root User' is not the name or number of an account",
    ),
    Case(
        "both template and copy",
        'copy = "keys.csv"',
        'copy = "keys.csv"\ntemplate = "cashy.toml.j2"',
        (
            "lab.toml:30: files.keys: either 'template' or 'copy' says where its contents come from, and it has "
            "both; one says what is in it"
        ),
    ),
    Case(
        "neither template nor copy",
        'copy = "keys.csv"\n',
        "",
        (
            "lab.toml:30: files.keys: either 'template' or 'copy' says where its contents come from, and it has "
            "neither"
        ),
    ),
    Case(
        "bad checksum",
        'mode = "0640"',
        'sha256 = "abc"',
        (
            "lab.toml:33: files.keys.sha256: a checksum has 64 digits and letters a to f, as sha256sum writes "
            "them"
        ),
    ),
    Case(
        "wrong checksum",
        'mode = "0640"',
        ('sha256 = "0000000000000000000000000000000000000000000000000000000000000000"'),
        (
            "lab.toml:33: files.keys.sha256: 'keys.csv' has the checksum "
            "5be08c9684a1d25efcee09318204824278b08bbfb4aef973ffefd0b9d7478313, and not this one"
        ),
    ),
    Case(
        "health check without a target",
        'kind = "tcp", target',
        'kind = "command", target',
        (
            "lab.toml:24: processes.cashy.health.target: a check of kind 'command' has no 'target'\n"
            "lab.toml:24: processes.cashy.health: a check of kind 'command' needs the key 'command'"
        ),
    ),
    Case(
        "no target",
        ', target = "{{ host.address }}:{{ port }}" }',
        " }",
        "lab.toml:24: processes.cashy.health: a check of kind 'tcp' needs the key 'target'",
    ),
    Case(
        "empty tool",
        'run = ["cashy", "--server", "{{ address(\'cashy\') }}"]',
        "run = []",
        "lab.toml:41: tools.cashy.run: it is empty; name a program and its arguments",
    ),
    Case(
        "empty command",
        'version = "1.4.0"',
        'version = "1.4.0"\nafter_switch = [[]]',
        "lab.toml:37: releases.aviary.after_switch[0]: it is empty; name a program and its arguments",
    ),
    Case(
        "release of nothing",
        'source = ["wheels/*-{{ release.version }}-*.whl"]',
        "source = []",
        "lab.toml:37: releases.aviary.source: it names no file; a release consists of files beside the spec",
    ),
    Case(
        "folder of a release is relative",
        'version = "1.4.0"',
        'version = "1.4.0"\nfolder = "opt/aviary"',
        "lab.toml:37: releases.aviary.folder: 'opt/aviary' is relative; a path on a host begins with '/'",
    ),
    Case(
        "folders in each other",
        "[tools.cashy]",
        (
            "[releases.extra]\n"
            'version = "1"\n'
            'source = ["keys.csv"]\n'
            'folder = "/opt/aviary/extra"\n'
            "[tools.cashy]"
        ),
        (
            "lab.toml:43: releases.extra.folder: '/opt/aviary/extra' and '/opt/aviary' of release 'aviary' lie "
            "in each other; each has a folder of its own"
        ),
    ),
    Case(
        "unknown overlay",
        "",
        "",
        "lab.toml: there is no overlay 'bog'; did you mean 'big'?",
        overlays=("bog",),
    ),
    Case(
        "overlay with an unknown key",
        'variables.memory = "1GiB"',
        'variabels.memory = "1GiB"',
        "lab.toml:44: overlays.big.variabels: this key is unknown; did you mean 'variables'?",
    ),
    Case(
        "overlay with a wrong type",
        'variables.memory = "1GiB"',
        'processes.cashy.batch_size = "1"',
        (
            "lab.toml:44: overlays.big.processes.cashy.batch_size: it must be a whole number, and is text; leave "
            "the quotes out"
        ),
    ),
    Case(
        "overlay in two places",
        "",
        "",
        "lab.toml:43: overlay 'big' is in overlays/big.toml too; say it in one place",
        files={"overlays/big.toml": 'description = "large"\n'},
        overlays=("big",),
    ),
    Case(
        "overlay in a file that is wrong",
        "",
        "",
        "overlays/tiny.toml:4: hosts.desk.sudoo: this key is unknown; did you mean 'sudo'?",
        files={"overlays/tiny.toml": '[variables]\nmemory = "1MiB"\n[hosts.desk]\nsudoo = true\n'},
        overlays=("tiny",),
    ),
    Case(
        "overlay that names what is not there",
        "",
        "",
        "overlays/tiny.toml:3: processes.cashy.after[0]: there is no process 'stoer'; did you mean 'store'?",
        files={"overlays/tiny.toml": '\n[processes.cashy]\nafter = ["stoer"]\n'},
        overlays=("tiny",),
    ),
    Case(
        "overlay with overlays",
        "",
        "",
        "overlays/tiny.toml:1: overlays: an overlay has no overlays of its own",
        files={"overlays/tiny.toml": "[overlays.more]\n"},
        overlays=("tiny",),
    ),
    Case(
        "overlay that adds a half process",
        "",
        "",
        "overlays/tiny.toml:1: processes.web: the key 'hosts' is missing",
        files={"overlays/tiny.toml": '[processes.web]\nafter = ["cashy"]\n'},
        overlays=("tiny",),
    ),
    Case(
        "unknown variable given",
        "",
        "",
        "command line: there is no variable 'prot'; did you mean 'port'?",
        variables={"prot": "1"},
    ),
    Case(
        "variable given that is no number",
        "",
        "",
        "command line: variable 'port': it must be a whole number, and not 'high'",
        variables={"port": "high"},
    ),
]
