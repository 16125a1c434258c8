"""The shell as a program: the prompt and what runs behind it. It knows no command but those about itself.

In reading order: :mod:`~labshell.app.shell`, :mod:`~labshell.app.settings`, :mod:`~labshell.app.context`, :mod:`~labshell.app.jobs`; then one of the
two front ends, :mod:`~labshell.app.script` or :mod:`~labshell.app.interactive`, the latter with its loops (:mod:`~labshell.app.guest`),
:mod:`~labshell.app.prompt`, :mod:`~labshell.app.output`, :mod:`~labshell.app.terminal` and :mod:`~labshell.app.attach`.

If the program is killed with SIGKILL nothing of it can put the terminal in order: type ``reset`` and Enter, also blindly.
"""

__all__: list[str] = []
