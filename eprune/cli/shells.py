"""Three shells' completion scripts, and the answers to what these scripts ask.

click takes the questions (the variable _EPRUNE_COMPLETE); the scripts and the answers are ours, because click's know no
file names beside words, nothing after "=", and no second file of an option.
"""

from __future__ import annotations

import contextlib
import os

import click
from click.shell_completion import BashComplete as ClickBash
from click.shell_completion import FishComplete, ZshComplete, add_completion_class, split_arg_string

from eprune.cli.completers import FILES, FOLDERS, Item, complete

#: Stands for the cursor while the line is split into words.
_CURSOR = "\ue000"


def register() -> None:
    """Let click answer with our completions. Needed only in a process that a shell asks."""
    for shell in (_Bash, _Zsh, _Fish):
        add_completion_class(shell)


class _Answers:
    """The answer to a shell: a line for each item, its fields separated by tabs.

    The fields are the kind, the value, the help, and ``=`` where names of files begin after the last "=" of the word.
    """

    cli: click.Command

    def complete(self) -> str:
        """The answer; empty where anything goes wrong, because nobody wants to read it while typing."""
        with contextlib.suppress(Exception), contextlib.redirect_stderr(None):
            *words, word = _words(os.environ.get("COMP_LINE", ""))
            return "\n".join(self.text(item, word) for item in complete(self.cli, words[1:], word))
        return ""

    def text(self, item: Item, word: str) -> str:
        """One line."""
        fields = (item.kind, item.value, " ".join(item.help.split()), "=" if item.after_equals else "")
        return "\t".join(fields)


def _words(line: str) -> list[str]:
    """The words of a command line, quotes removed; the last one, perhaps empty, is under the cursor."""
    words = split_arg_string(line + _CURSOR)
    return [word.replace(_CURSOR, "") for word in words] if words else ["", ""]


class _Bash(_Answers, ClickBash):
    # Readline breaks words at the characters of COMP_WORDBREAKS, "=" among them, and replaces only what is behind the
    # last of them. `filenames` lets it quote names and mark folders; it would also quote the "=" of other words.
    source_template = """\
%(complete_func)s() {
    local cur=${COMP_WORDS[COMP_CWORD]} stem kind value help after name pattern before=
    local IFS=$'\\n' noglob=0
    [[ $cur == [=:] ]] && cur=
    [[ $- == *f* ]] && noglob=1
    COMPREPLY=()
    while IFS=$'\\037' read -r kind value help after; do
        case $kind in
        word|part)
            COMPREPLY+=("$value")
            [[ $kind == part ]] && compopt -o nospace
            ;;
        files|folders)
            compopt -o filenames
            stem=$cur
            if [[ $after == '=' && $cur == *=* ]]; then
                stem=${cur##*=} before=${cur%%"$stem"}
            fi
            [[ $stem == [\\"\\']* ]] && stem=${stem:1}
            set -f
            while IFS= read -r name; do COMPREPLY+=("$before$name"); done < <(
                compgen -d -- "$stem"
                IFS=' '
                [[ $kind == files ]] && for pattern in $value; do compgen -f -X "!$pattern" -- "$stem"; done
            )
            ((noglob)) || set +f
            ;;
        esac
    done < <(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_CUR="$cur" %(complete_var)s=bash_complete "$1" 2>/dev/null)
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def text(self, item: Item, word: str) -> str:
        """Without the part of the word that bash does not replace."""
        current = os.environ.get("COMP_CUR", "")
        kept = len(word) - len(current) if word.endswith(current) and item.kind not in (FILES, FOLDERS) else 0
        return (
            super().text(Item(item.kind, item.value[kept:], item.help, item.after_equals), word).replace("\t", "\037")
        )


class _Zsh(_Answers, ZshComplete):
    source_template = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local kind value help after line
    local -a words_found parts files_found
    (( $+commands[%(prog_name)s] )) || return 1
    while IFS= read -r line; do
        local -a fields=("${(@ps:\\t:)line}")
        kind=$fields[1] value=${fields[2]//:/\\\\:} help=$fields[3] after=$fields[4]
        case $kind in
        word) words_found+=("$value${help:+:$help}") ;;
        part) parts+=("$value${help:+:$help}") ;;
        files)
            [[ $after == '=' ]] && compset -P '*='
            if [[ $fields[2] == '*' ]]; then _files; else _files -g "(${fields[2]// /|})(-.)"; fi
            ;;
        folders)
            [[ $after == '=' ]] && compset -P '*='
            _files -/
            ;;
        esac
    done < <(env COMP_LINE="${(j: :)words[1,CURRENT-1]} $QIPREFIX$PREFIX" %(complete_var)s=zsh_complete \\
        %(prog_name)s 2>/dev/null)
    (( $#words_found )) && _describe -V 'eprune' words_found
    (( $#parts )) && _describe -V 'eprune' parts -S ''
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
    compdef %(complete_func)s %(prog_name)s
fi
"""


class _Fish(_Answers, FishComplete):
    source_template = """\
function %(complete_func)s
    set -l token (commandline -ct)
    set -l typed (commandline -cp | string collect)
    for line in (env COMP_LINE=$typed %(complete_var)s=fish_complete %(prog_name)s 2>/dev/null)
        set -l fields (string split \\t -- $line)
        set -l stem $token
        set -l before ''
        if test "$fields[4]" = '='
            set stem (string replace -r '.*=' '' -- $token)
            set before (string replace -r '[^=]*$' '' -- $token)
        end
        switch $fields[1]
            case word part
                printf '%%s\\t%%s\\n' $fields[2] $fields[3]
            case files folders
                for name in (complete -C "'' $stem")
                    set -l path (string split \\t -- $name)[1]
                    if string match -q -- '*/' $path
                        echo $before$path
                    else if test $fields[1] = files
                        for pattern in (string split ' ' -- $fields[2])
                            if string match -q -- $pattern $path
                                echo $before$path
                                break
                            end
                        end
                    end
                end
        end
    end
end

complete --no-files --command %(prog_name)s --arguments '(%(complete_func)s)'
"""
