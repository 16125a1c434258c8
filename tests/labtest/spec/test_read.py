"""Good specs: what their tables become, how overlays and variables change them, and that the documented example is one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.labtest.spec.good_spec import GOOD, write_tree

from labtest.core.checks import VALUE_CHARACTERS_MAX
from labtest.core.environment import FileUse, Health, HealthKind, HostKind, HostSpec, OnChange
from labtest.core.resolve import resolve
from labtest.errors import SpecError
from labtest.spec import Sources, read_environment
from labtest.spec.limits import TIMEOUT_S_MAX
from labtest.spec.reference import EXAMPLE


def test_hosts_of_a_range_are_alike_but_for_their_name(tmp_path: Path) -> None:
    text = GOOD.replace(
        'groups = ["cache"]', 'groups = ["cache"]\nssh = "ops@rack{{ number }}"\naddress = "{{ name }}.lan"'
    )
    environment = read_environment(write_tree(tmp_path, text))
    assert environment.hosts[:2] == tuple(
        HostSpec(
            name=f"cache{number}",
            kind=HostKind.NAMESPACE,
            ssh=f"ops@rack{number}",
            address=f"cache{number}.lan",
            groups=("cache",),
        )
        for number in (1, 2)
    )
    assert environment.groups == {"cache": ("cache1", "cache2")}


def test_digits_of_a_range_are_kept(tmp_path: Path) -> None:
    environment = read_environment(write_tree(tmp_path, GOOD.replace("cache[1-2]", "cache[08-10,20]")))
    assert [host.name for host in environment.hosts] == ["cache08", "cache09", "cache10", "cache20", "desk"]


def test_groups_are_those_of_hosts_and_of_their_own_table(tmp_path: Path) -> None:
    text = GOOD.replace(
        "[hosts.desk]", '[groups]\nspare = ["desk", "cache1"]\ncache = ["desk"]\n[hosts.desk]'
    )
    environment = read_environment(write_tree(tmp_path, text))
    assert environment.groups == {"spare": ("cache1", "desk"), "cache": ("cache1", "cache2", "desk")}
    assert {host.name: host.groups for host in environment.hosts} == {
        "cache1": ("spare", "cache"),
        "cache2": ("cache",),
        "desk": ("spare", "cache"),
    }


@pytest.mark.parametrize(
    ("words", "hosts"),
    [
        ('["desk", "@cache", "cache1"]', ("desk", "cache1", "cache2")),
        ('["@all"]', ("cache1", "cache2", "desk")),
        ('["@all", "!cache*"]', ("desk",)),
        ('["cache[1-2]"]', ("cache1", "cache2")),
        ('["*2", "?ache1"]', ("cache2", "cache1")),
    ],
)
def test_hosts_keep_the_order_of_the_words(tmp_path: Path, words: str, hosts: tuple[str, ...]) -> None:
    environment = read_environment(write_tree(tmp_path, GOOD.replace('["@cache"]', words, 1)))
    assert environment.processes[1].hosts == hosts


def test_process_with_all_it_has(tmp_path: Path) -> None:
    store, cashy = read_environment(write_tree(tmp_path)).processes
    assert (store.unit, store.template, store.health) == ("store.service", "store.service.j2", Health())
    assert cashy.unit == "cashy-master@default.service"
    assert cashy.files == (FileUse(file="config"), FileUse(file="keys", on_change=OnChange.RELOAD))
    assert cashy.health == Health(kind=HealthKind.TCP, target="{{ host.address }}:{{ port }}")
    assert (cashy.after, cashy.releases) == (("store",), ("aviary",))


def test_checksum_that_fits(tmp_path: Path) -> None:
    digest = "5be08c9684a1d25efcee09318204824278b08bbfb4aef973ffefd0b9d7478313"
    environment = read_environment(
        write_tree(tmp_path, GOOD.replace('mode = "0640"', f'sha256 = "{digest}"'))
    )
    assert environment.files[1].sha256 == digest


@pytest.mark.parametrize(("text", "mode"), [("0640", 0o640), ("755", 0o755), ("4755", 0o4755)])
def test_mode_is_octal(tmp_path: Path, text: str, mode: int) -> None:
    environment = read_environment(write_tree(tmp_path, GOOD.replace('"0640"', f'"{text}"')))
    assert environment.files[1].mode == mode


def test_time_at_its_limit_and_one_past_it(tmp_path: Path) -> None:
    text = GOOD.replace('after = ["store"]', f"stop_timeout_s = {TIMEOUT_S_MAX}")
    assert read_environment(write_tree(tmp_path, text)).processes[1].stop_timeout_s == TIMEOUT_S_MAX
    with pytest.raises(SpecError, match="it must be more than 0, at most 86400 seconds, and is 86401"):
        read_environment(write_tree(tmp_path, text.replace(str(TIMEOUT_S_MAX), str(TIMEOUT_S_MAX + 1))))


def test_value_at_its_limit_and_one_past_it(tmp_path: Path) -> None:
    for size, is_good in ((VALUE_CHARACTERS_MAX, True), (VALUE_CHARACTERS_MAX + 1, False)):
        path = write_tree(tmp_path, GOOD.replace("64MiB", "m" * size))
        if is_good:
            assert read_environment(path).variables["memory"] == "m" * size
        else:
            with pytest.raises(SpecError, match="it has 4,097 characters; 4,096 are possible"):
                read_environment(path)


# Overlays and variables


def test_overlay_in_the_spec_and_in_a_file_in_the_order_given(tmp_path: Path) -> None:
    files = {
        "overlays/tiny.toml": 'name = "tiny"\nvariables.memory = "1MiB"\n[processes.cashy]\nfiles = ["config"]\n'
    }
    path = write_tree(tmp_path, files=files)
    plain = read_environment(path)
    both = read_environment(path, overlays=["big", "tiny"])
    assert (both.name, both.variables["memory"]) == ("tiny", "1MiB")
    assert read_environment(path, overlays=["tiny", "big"]).variables["memory"] == "1GiB"
    cashy = both.processes[1]
    assert cashy.files == (FileUse(file="config"),), "a list is replaced"
    assert cashy.after == plain.processes[1].after, "what an overlay does not say stays"
    assert plain.variables["memory"] == "64MiB"


def test_overlay_adds_hosts_and_processes(tmp_path: Path) -> None:
    overlay = '[hosts."extra[1-2]"]\nkind = "local"\n[hosts.cache2]\nsudo = true\n[processes.web]\nhosts = ["extra*"]\nafter = ["cashy"]\n'
    environment = read_environment(
        write_tree(tmp_path, files={"overlays/more.toml": overlay}), overlays=["more"]
    )
    assert [host.name for host in environment.hosts] == ["cache1", "cache2", "desk", "extra1", "extra2"]
    assert [host.sudo for host in environment.hosts] == [False, True, False, False, False]
    assert environment.processes[2].hosts == ("extra1", "extra2")


def test_error_within_what_an_overlay_has_replaced_is_in_its_file(tmp_path: Path) -> None:
    overlay = '\n\n[processes.cashy]\nhealth = { kind = "tcp", target = "{{ nobody }}" }\n'
    path = write_tree(tmp_path, files={"overlays/odd.toml": overlay})
    with pytest.raises(SpecError) as caught:
        read_environment(path, overlays=["odd"])
    assert (caught.value.source, caught.value.line) == (str(tmp_path / "overlays" / "odd.toml"), 4)


def test_error_beside_what_an_overlay_has_replaced_is_in_the_spec(tmp_path: Path) -> None:
    text = GOOD.replace('unit = "cashy-master@default.service"', 'unit = "{{ nobody }}.service"')
    path = write_tree(tmp_path, text, {"overlays/odd.toml": '[processes.cashy]\nhosts = ["desk"]\n'})
    with pytest.raises(SpecError) as caught:
        read_environment(path, overlays=["odd"])
    assert (caught.value.source, caught.value.line) == (str(path), 20)


def test_template_of_the_spec_may_need_an_overlay(tmp_path: Path) -> None:
    files = {
        "cashy.toml.j2": "{% if rack is defined %}rack = {{ rack }}\n{% endif %}",
        "overlays/racks.toml": "variables.rack = 7\n",
    }
    path = write_tree(tmp_path, files=files)
    for overlays, content in (((), b""), (("racks",), b"rack = 7\n")):
        resolved = resolve(read_environment(path, overlays=overlays), Sources(tmp_path))
        assert content in resolved.blobs.values()


def test_variables_given_have_the_type_of_what_they_replace(tmp_path: Path) -> None:
    text = GOOD.replace("port = 9100", "port = 9100\nratio = 1.5\nloud = false")
    given = {"port": "7", "ratio": "2", "loud": "true", "memory": "8"}
    environment = read_environment(write_tree(tmp_path, text), overlays=["big"], variables=given)
    assert environment.variables == {"memory": "8", "port": 7, "ratio": 2.0, "loud": True}
    assert [type(value) for value in environment.variables.values()] == [str, int, float, bool]


# Whole specs


def test_empty_environment_of_one_host(tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    path.write_text('name = "one"\n[hosts.a]\n', encoding="utf-8")
    environment = read_environment(path)
    assert environment.hosts == (HostSpec(name="a"),)
    assert resolve(environment, Sources(tmp_path)).addresses == {"a": "a"}


def test_lines_may_end_as_on_windows(tmp_path: Path) -> None:
    path = write_tree(tmp_path)
    path.write_bytes(GOOD.replace("port = 9100", "prot = []").replace("\n", "\r\n").encode())
    with pytest.raises(SpecError) as caught:
        read_environment(path)
    assert caught.value.line == 5


def test_example_of_the_reference_page_is_good(tmp_path: Path) -> None:
    files = {"wheels/aviary-1.4.0-py3-none-any.whl": "wheel"}
    environment = read_environment(write_tree(tmp_path, EXAMPLE, files), overlays=["big"])
    resolved = resolve(environment, Sources(tmp_path), {"cache1": "10.1.0.1"})
    assert resolved.tools[0].argv == ("cashy", "top", "--server", "10.1.0.1:9100")
    assert [host.host for host in resolved.target.hosts] == ["cache1", "cache2", "desk"]
