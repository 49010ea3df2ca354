"""A small part of Jinja for what people are told: text, values, conditions and loops over what is there.

A template of a user's decides how a page reads, never whether it goes out, how long that takes or what it may look at.
So whatever could go on for ever or grow without end is no part of the language (macros, calls, arithmetic, imports,
loops over more than there is), a value has no methods, and what is left is counted. This module must never read a file
or the environment, and never give a template anything but values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jinja2 import StrictUndefined, Undefined, nodes
from jinja2.exceptions import TemplateError, TemplateSyntaxError
from jinja2.filters import FILTERS, do_join, do_replace
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import pass_context, pass_eval_context
from jinja2.visitor import NodeTransformer

#: A template is no longer than this, in characters.
LONGEST_TEMPLATE = 64 * 1024
#: Steps of loops in one rendering: five times what all facts times all labels come to.
STEPS = 10_000
#: No text that a template makes on its way is longer than this.
LONGEST_TEXT = 16 * 1024

_METER = " meter"  # a name that no template can write
_ALLOWED = frozenset(
    {
        *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign),
        *(nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.Getattr, nodes.Getitem, nodes.Slice),
        *(nodes.Filter, nodes.Test, nodes.Keyword, nodes.Compare, nodes.Operand, nodes.CondExpr),
        *(nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Concat, nodes.Add, nodes.Sub),
    }
)
_WORDS = {
    nodes.Call: "calls are",
    nodes.Macro: "`macro` is",
    nodes.CallBlock: "`call` is",
    nodes.Include: "`include` is",
    nodes.Import: "`import` is",
    nodes.FromImport: "`import` is",
    nodes.Extends: "`extends` is",
    nodes.Block: "`block` is",
    nodes.AssignBlock: "`set` over several lines is",
    nodes.FilterBlock: "`filter` is",
    nodes.With: "`with` is",
    nodes.Scope: "`autoescape` is",
    nodes.Mul: "multiplying is",
    nodes.Pow: "powers are",
    nodes.Mod: "`%` is",
    nodes.Dict: "a mapping is",
}
_FILTERS = (
    *("capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "items", "last", "length"),
    *("lower", "reverse", "sort", "string", "title", "trim", "truncate", "unique", "upper", "urlencode"),
)
_LOOP = frozenset({"first", "index", "index0", "last", "length", "revindex", "revindex0"})


class TooMuch(TemplateError):
    """A template went on for too long, or made too much."""


class Language(ImmutableSandboxedEnvironment):
    """What a template may say. `html`: values are escaped unless they stand in the template itself."""

    def __init__(self, *, html: bool) -> None:
        super().__init__(
            autoescape=html,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_written,
        )
        self.globals.clear()
        self.filters = {
            **{name: FILTERS[name] for name in _FILTERS},
            "join": _join,
            "replace": _replace,
            "each": _each,
            "made": _made,
        }
        self.tests["address"] = _is_address

    def getattr(self, obj: Any, attribute: str) -> Any:
        """What stands behind a full stop: an entry of a mapping, or where a loop is. Values have no methods."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        if isinstance(obj, LoopContext) and attribute in _LOOP:
            return getattr(obj, attribute)
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """What stands in brackets."""
        try:
            return obj[argument]
        except (TypeError, LookupError, AttributeError):
            return self.undefined(obj=obj, name=argument)


class Words:
    """One template, ready to be filled in."""

    def __init__(self, text: str, *, html: bool = False) -> None:
        """Raises `TemplateSyntaxError` with the line, for whatever cannot be a template."""
        if len(text) > LONGEST_TEMPLATE:
            raise TemplateSyntaxError(f"is longer than {LONGEST_TEMPLATE} characters", 1)
        language = Language(html=html)
        try:
            tree = language.parse(text)
            for node in tree.find_all(nodes.Node):
                _allowed(node)
            self._template = language.from_string(_Counted().visit(tree))
        except TemplateSyntaxError:
            raise
        except TemplateError as error:
            raise TemplateSyntaxError(str(error) or "cannot be used", 1) from error
        except Exception as error:  # whatever a parser and a compiler say to a text that is no template
            raise TemplateSyntaxError(f"cannot be compiled: {type(error).__name__}", 1) from error

    def filled(self, values: Mapping[str, Any], *, limit: int) -> str:
        """The text with its values. Raises anything; `TooMuch` beyond `limit` characters."""
        parts: list[str] = []
        length = 0
        for part in self._template.generate({**values, _METER: _Meter()}):
            parts.append(part)
            length += len(part)
            if length > limit:
                raise TooMuch(f"makes more than {limit} characters")
        return "".join(parts)


def line_of(error: BaseException) -> int:
    """In which line of its template something went wrong; 1 where that is not known."""
    if isinstance(error, TemplateSyntaxError):
        return error.lineno
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in ("<template>", "<unknown>"):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


class _Meter:
    def __init__(self) -> None:
        self._left = STEPS

    def step(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise TooMuch(f"goes through more than {STEPS} steps of loops")


class _Counted(NodeTransformer):
    """Has every loop counted, and every text measured that is put together."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802  the visitor's own naming
        self.generic_visit(node)
        node.iter = _through("each", node.iter)
        return node

    def _measured(self, node: nodes.Concat | nodes.Add) -> nodes.Expr:
        self.generic_visit(node)
        return _through("made", node)

    visit_Concat = visit_Add = _measured  # noqa: N815


def _through(name: str, node: nodes.Node) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _allowed(node: nodes.Node) -> None:
    if type(node) not in _ALLOWED:
        said = _WORDS.get(type(node), f"`{type(node).__name__.lower()}` is")
        raise TemplateSyntaxError(f"{said} no part of these templates", node.lineno or 1)
    if isinstance(node, nodes.For) and node.recursive:
        raise TemplateSyntaxError("`recursive` is no part of these templates", node.lineno)


def _written(value: Any) -> Any:
    """Only text and numbers are written; a list or a mapping would show how it is kept."""
    if isinstance(value, str | int | float | Undefined):
        return value
    raise TemplateError(f"a {type(value).__name__} is not text: go through it with `for`, or name an entry")


@pass_context
def _each(context: Context, value: Iterable[Any]) -> Iterator[Any]:
    meter: Any = context.resolve(_METER)
    for one in value:
        meter.step()
        yield one


@pass_context
def _made(_context: Context, value: Any) -> Any:
    """With the context, so that it is not worked out when the template is compiled."""
    if isinstance(value, str | list | tuple):
        _bounded(len(value))
    return value


def _bounded(length: int) -> None:
    if length > LONGEST_TEXT:
        raise TooMuch(f"makes a text of more than {LONGEST_TEXT} characters")


@pass_eval_context
def _join(context: nodes.EvalContext, value: Iterable[Any], d: str = "") -> str:
    parts = list(value)
    _bounded(sum(len(str(one)) for one in parts) + len(d) * len(parts))
    joined: str = do_join(context, parts, d)
    return joined


@pass_eval_context
def _replace(context: nodes.EvalContext, s: str, old: str, new: str) -> str:
    _bounded(len(s) + str(s).count(old) * len(new))
    return do_replace(context, s, old, new)


def _is_address(value: str) -> bool:
    """Whether a text can be a link: `javascript:` and the like are none."""
    return value.startswith(("https://", "http://"))
