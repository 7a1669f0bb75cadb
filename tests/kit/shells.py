"""Shells at a terminal: what a person sees who types a line and presses Tab."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from dataclasses import dataclass
from pathlib import Path

#: Seconds that a shell may take to answer; it does so at once, unless the machine is busy.
PATIENCE = 60.0

#: Ctrl-E prints the line, Ctrl-G empties it. To a terminal whose shell is busy they mean nothing, as Ctrl-U would.
_SHOW, _CLEAR = "\x05", "\x07"


@dataclass(frozen=True)
class Completed:
    """The line after Tab was pressed, and the words that were listed below it."""

    line: str
    listed: tuple[str, ...]


class Terminal:
    """A shell behind a pseudo-terminal. ``setup`` are its first lines; they bind Ctrl-E to print the line in <<< >>>,
    and Ctrl-G to empty it."""

    def __init__(self, arguments: list[str], setup: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.pid, self.end = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(folder)
                os.execvpe(arguments[0], arguments, environment)
            finally:
                os._exit(127)
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", 200, 500, 0, 0))  # lines, columns
        self._type("\n".join([*setup, "echo rea''dy", ""]))
        self._until(r"ready\r\n")

    def complete(self, line: str) -> Completed:
        """Type a line, press Tab, and read what the shell makes of it. The line is not run."""
        self._type(line + "\t" + _SHOW)
        answer = self._until(r"(?s)(.*)<<<(.*?)>>>")
        self._type(_CLEAR + _SHOW)
        self._until("<<<>>>")
        plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x07|\x1b[=>]", "", answer.group(1))
        return Completed(answer.group(2), tuple(dict.fromkeys(plain.replace(line, " ").split())))

    def close(self) -> None:
        """End the shell."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.end)

    def _type(self, text: str) -> None:
        os.write(self.end, text.encode())

    def _until(self, wanted: str) -> re.Match[str]:
        text, deadline = "", time.monotonic() + PATIENCE
        while not (found := re.search(wanted, text)):
            ready, _, _ = select.select([self.end], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"the shell printed {text!r}, and not {wanted!r}")
            text += os.read(self.end, 65536).decode(errors="replace")
        return found


_BASH = [
    "unset HISTFILE; PS1=; PS2=",
    "bind 'set enable-bracketed-paste off'; bind 'set bell-style none'; bind 'set show-all-if-ambiguous on'",
    "bind 'set page-completions off'; bind 'set completion-query-items 0'; bind 'set completion-display-width 0'",
    """bind -x '"\\C-e": printf "<<<%s>>>\\n" "$READLINE_LINE"'; bind '"\\C-g": unix-line-discard'""",
    'eval "$(eprune completion bash)"',
]
_ZSH = [
    "unset HISTFILE zle_bracketed_paste; PS1=; PS2=; PROMPT_EOL_MARK=; unsetopt beep",
    "LISTMAX=100000; setopt no_list_ambiguous list_rows_first; zstyle ':completion:*' list-separator '|'",
    'show() { zle -I; print -r -- "<<<$BUFFER>>>" }; zle -N show; bindkey -e',
    "bindkey '^E' show; bindkey '^G' kill-whole-line",
    'autoload -Uz compinit; compinit -u -D; eval "$(eprune completion zsh)"',
]

#: Shell -> how it is started, and its first lines.
INTERACTIVE = {"bash": (["bash", "--norc", "--noprofile", "-i"], _BASH), "zsh": (["zsh", "-f", "-i"], _ZSH)}
