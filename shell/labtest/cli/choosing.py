"""Which lab, and which host, a command means."""

from __future__ import annotations

from pathlib import Path

import click

from labtest.namespaces import Lab, LabNotFound, all_labs, find

__all__ = ["chosen_lab", "lab_of_host", "lab_option", "name_of"]

lab_option = click.option(
    "--lab",
    "lab_name",
    metavar="NAME",
    help="The lab, by its spec, its environment's name or its id. [default: the only one that has the host]",
)


def name_of(spec_or_name: str) -> str:
    """The environment's name, if it is a spec's file that is given; else what is given, the name or the id of a lab."""
    path = Path(spec_or_name)
    if not (path.suffix or path.exists()) or any(spec_or_name == lab.id for lab in all_labs()):
        return spec_or_name
    from labtest.spec import read_environment  # with Jinja2, and so dearer than all the rest

    return read_environment(path).name


def chosen_lab(spec_or_name: str) -> Lab:
    """The lab of a spec, a name or an id. Raises LabNotFound, or SpecError."""
    return find(name_of(spec_or_name))


def lab_of_host(host: str, lab_name: str | None) -> Lab:
    """The lab that has a host of that name. Raises LabNotFound, listing what there is, if none has or several have."""
    labs = [chosen_lab(lab_name)] if lab_name is not None else all_labs()
    having = [lab for lab in labs if host in lab.hosts]
    if len(having) == 1:
        return having[0]
    if having:
        ids = ", ".join(lab.id for lab in having)
        raise LabNotFound(f"several labs have a host {host!r}: choose one by --lab: {ids}")
    known = (
        "; ".join(f"{lab.id} has {', '.join(lab.hosts)}" for lab in labs) or "no lab is up (labtest up SPEC)"
    )
    raise LabNotFound(f"there is no host {host!r}: {known}")
