"""Rule files (SpamAssassin's language, docs/rules.md) -> RuleFiles. Every line is obeyed or listed as a problem."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from gateway.errors import ConfigError
from gateway.rules import condition, definition, setting
from gateway.rules.draft import Draft, split_name, split_word
from gateway.rules.plugins import NETWORK, RUN, full_name, short_name
from gateway.rules.rule import Place, RuleFiles, Severity

_COMMENT = re.compile(r"(?<!\\)#.*", re.DOTALL)
_MAX_NESTED, _MAX_FILES = 20, 1000  # included files
_TRANSLATED = ("describe",)
_COMPATIBLE_BY_DEFAULT = "welcomelist_blocklist"  # SpamAssassin 4 ships with it: the lists' names of today


def read(paths: Iterable[Path], column: int = 3) -> RuleFiles:
    """All *.pre and *.cf files below the paths, folders in name order. Raises ConfigError when one cannot be read.

    `column`: which of four scores counts: 0 without classifier and network, 1 network, 2 classifier, 3 both.
    """
    reader = _Reader(column)
    for path in list_files(paths):
        reader.file(path, path.name)
    return reader.finish()


def read_lines(paths: Iterable[Path], before: Iterable[Path] = ()) -> tuple[RuleFiles, list[tuple[Place, str]]]:
    """The same, and the lines that were obeyed, without those about conditions and other files.

    `before`: what is read first, and only counts for its scores, tags and lists.
    """
    reader = _Reader(column=3)
    for path in list_files(before) if before else ():
        reader.file(path, path.name)
    reader.forget_remarks()
    for path in list_files(paths):
        reader.file(path, path.name)
    return reader.finish(), reader.obeyed


def list_files(paths: Iterable[Path]) -> list[Path]:
    """The files that are read, in their order. Raises ConfigError when a path is not there, or holds none."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += [*sorted(path.glob("*.pre")), *sorted(path.glob("*.cf"))]
        elif path.exists():
            found.append(path)
        else:
            raise ConfigError(f"{path}: no such rule file or folder")
    if not found:
        raise ConfigError(f"{', '.join(map(str, paths))}: no *.cf file there")
    return found


class _Reader:
    """Reads line by line, keeping the nesting of if and else."""

    def __init__(self, column: int) -> None:
        self.obeyed: list[tuple[Place, str]] = []
        self._draft = Draft(column)
        self._digest = hashlib.sha256()
        self._open: list[bool] = []  # for each open `if`: whether its lines count
        self._nested = 0
        self._files = 0
        self._plugins = set(RUN)
        self._compatible = {_COMPATIBLE_BY_DEFAULT}
        self._held: dict[str, bool] = {}  # condition -> whether it holds, with these plugins
        self._is_for_others = False  # require_version of another version: the rest of the file is left out
        self._own: dict[str, Callable[[str], None]] = {
            "lang": self._lang,
            "loadplugin": self._load_plugin,
            "tryplugin": self._load_plugin,
            "enable_compat": self._enable,
            "require_version": self._require,
        }

    def file(self, path: Path, name: str) -> None:
        """One file. `name` is how problems call it."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        self._digest.update(content)
        self._nested += 1
        self._files += 1
        before, was_for_others = self._open, self._is_for_others
        self._open = []
        is_open = not before or all(before)
        for number, line in enumerate(content.split(b"\n") if is_open else (), start=1):
            self._draft.place = Place(name, number)
            self._obey(_text_of(line), path)
        if self._open:
            self._draft.problem("an `if` has no `endif`", "error")
        self._open, self._is_for_others = before, was_for_others
        self._nested -= 1

    def finish(self) -> RuleFiles:
        """What the files say in all."""
        draft = self._draft
        definition.finish(draft)
        setting.check_networks(draft)
        draft.flush()
        draft.found.digest = self._digest.hexdigest()
        return draft.found

    def forget_remarks(self) -> None:
        """What the files read so far gave reason to say."""
        self._draft.flush()
        self._draft.found.problems.clear()
        self._draft.found.settings.clear()
        self.obeyed.clear()

    # --- one line

    def _obey(self, line: str, path: Path) -> None:
        if not line:
            return
        self._draft.line, self._draft.is_obeyed = line, True
        word, rest = split_word(line)
        word = word.lower().replace("-", "_")
        try:
            if self._condition(word, rest) or self._is_for_others or not all(self._open):
                return
            if word == "include":
                self._include(path, rest)
            else:
                self._directive(setting.name_of_today(word), rest)
                if self._draft.is_obeyed:
                    self.obeyed.append((self._draft.place, line))
        except ValueError as error:
            self._draft.problem(str(error), "error")

    def _directive(self, word: str, rest: str) -> None:
        if word in definition.DIRECTIVES:
            definition.DIRECTIVES[word](self._draft, rest)
        elif word in setting.DIRECTIVES:
            setting.DIRECTIVES[word](self._draft, rest)
        elif word in self._own:
            self._own[word](rest)
            self._draft.is_obeyed &= word == "lang"  # the others only decide what is read
        elif word in setting.WITHOUT_EFFECT:
            self._draft.once(word, f"{word} has no effect: {setting.WITHOUT_EFFECT[word]}")
        elif word in setting.OF_PLUGIN:
            reason = f"{word} is not supported: the plugin {setting.OF_PLUGIN[word]} is not run"
            self._draft.once(word, reason, "unsupported")
        else:
            raise ValueError(f"{word[:60]}: no such directive")

    # --- what decides about other lines

    def _condition(self, word: str, rest: str) -> bool:
        if word in ("if", "ifplugin"):
            self._open.append(self._holds(word, rest))
        elif word == "else":
            if not self._open:
                raise ValueError("`else` without an `if`")
            self._open[-1] = not self._open[-1]
        elif word == "endif":
            if not self._open:
                raise ValueError("`endif` without an `if`")
            self._open.pop()
        else:
            return False
        return True

    def _holds(self, word: str, rest: str) -> bool:
        text = f"plugin({rest})" if word == "ifplugin" else rest
        if text not in self._held:
            try:
                self._held[text] = condition.holds(text, self._plugins, self._compatible)
            except ValueError as error:
                self._draft.problem(str(error), "error")
                return False
        if not self._held[text] and all(self._open):
            self._draft.once(f"if {text}", f"{word} {rest}: does not hold, the lines up to else or endif are left out")
        return self._held[text]

    def _include(self, path: Path, rest: str) -> None:
        if self._nested >= _MAX_NESTED or self._files >= _MAX_FILES:
            raise ValueError("include: too many files in files")
        try:
            target = path.parent / Path(rest).expanduser()
            is_there = bool(rest) and target.is_file()
        except (OSError, RuntimeError, ValueError):  # a name too long, a home that nobody has, a NUL
            is_there = False
        if not is_there:
            raise ValueError(f"include: {rest[:80]} is not there")
        place, line = self._draft.place, self._draft.line
        self.file(target, target.name)
        self._draft.place, self._draft.line = place, line

    def _require(self, rest: str) -> None:
        if rest.startswith("@@"):  # what SpamAssassin's installation would have filled in
            return
        if not re.fullmatch(r"\d+(?:\.\d+)?", rest, re.ASCII):
            raise ValueError(f"require_version: {rest[:40]!r} is not a version")
        if abs(float(rest) - condition.VERSION) > 1e-9:
            self._is_for_others = True
            self._draft.problem(f"require_version: the file is for {rest}, its rest is left out", "error")

    def _load_plugin(self, rest: str) -> None:
        name = full_name(split_word(rest)[0])
        if name in NETWORK:
            self._draft.once(name, f"plugin {short_name(name)}: its rules ask a server, each is listed", "note")
        elif name not in RUN:
            self._draft.once(name, f"plugin {short_name(name)[:60]} is not run, nor are its rules", "unsupported")
        if name in NETWORK and name not in self._plugins:
            self._plugins.add(name)
            self._held.clear()

    def _enable(self, rest: str) -> None:
        if not re.fullmatch(r"\w+", rest, re.ASCII):
            raise ValueError("enable_compat: write one name")
        self._compatible.add(rest)
        self._held.clear()

    def _lang(self, rest: str) -> None:
        language, directive = split_word(rest)
        word, value = split_word(directive)
        if word == "describe":
            name, text = split_name(value)
            self._draft.found.translations.setdefault(language, {})[name] = text
            return
        severity: Severity = "note" if word in setting.WITHOUT_EFFECT else "unsupported"
        self._draft.once(f"lang {word}", f"lang {language} {word[:40]}: only describe is translated", severity)


def _text_of(line: bytes) -> str:
    r"""The line without its comment; a "#" is written "\#". Bytes that are not UTF-8 are Latin-1, in patterns \xHH."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        text = _latin(line)
    if "#" in text:
        text = _COMMENT.sub("", text).replace("\\#", "#")
    return text.strip()


def _latin(line: bytes) -> str:
    text = line.decode("latin-1")
    if text.split(None, 1)[:1] in (["header"], ["body"], ["rawbody"], ["uri"], ["full"], ["mimeheader"]):
        return "".join(char if char < "\x80" else f"\\x{ord(char):02x}" for char in text)
    return text
