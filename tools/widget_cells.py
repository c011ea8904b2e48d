"""What must be run of a notebook before its widgets can be used: the statements that make the names they use, and so on
back.

Read off the code, nothing is run. A name comes from the last statement above that binds it (assigns, imports, defines
it), and from those after it which change what it holds: `name[...] = `, `name.part = `, `name.method(...)`, and, since
a widget is to show a network that has learned something, `fit(name, ...)`, `load_checkpoint(name, ...)` and the calls
of the notebook's own functions that call one of these. What other calls change of what they are given is not counted.
"""

import ast
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from lesson_source import parse_code

TEACHERS = ("fit", "load_checkpoint")  # functions that fill the network that they are given with weights


@dataclass
class Names:
    """What a statement does with the names of the notebook."""

    needed: set[str] = field(default_factory=set)  # read before the statement itself binds them
    needed_later: set[str] = field(default_factory=set)  # read in the body of a function, when it is called
    bound: set[str] = field(default_factory=set)
    imported: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)  # bound elsewhere, changed here


def widget_cells(sources: Sequence[str]) -> list[str]:
    """The code cells of a notebook cut down to what its widgets need; a cell of which nothing is needed is left out.

    Args:
        sources: the text of every code cell. The cells that show a widget are kept as they are.
    """
    statements = [(index, statement) for index, source in enumerate(sources) for statement in parse_code(source).body]
    wanted = [place for place, (index, _) in enumerate(statements) if shows_a_widget(sources[index])]
    teachers = _teachers([statement for _, statement in statements])
    kept: dict[int, list[str]] = {}
    for place in _needed([names_of([statement], teachers) for _, statement in statements], wanted):
        index, statement = statements[place]
        kept.setdefault(index, []).append(ast.unparse(statement))
    return [sources[index] if shows_a_widget(sources[index]) else "\n".join(texts) for index, texts in kept.items()]


def called(source: str) -> set[str]:
    """The names of the functions that a cell calls, methods left out."""
    nodes = [node.func for node in ast.walk(parse_code(source)) if isinstance(node, ast.Call)]
    return {function.id for function in nodes if isinstance(function, ast.Name)}


def shows_a_widget(source: str) -> bool:
    """Whether a cell shows one of our widgets: `explore(...)`, `explore_stamps(...)`."""
    return any(name.startswith("explore") for name in called(source))


def names_of(statements: Sequence[ast.stmt], teachers: Collection[str] = TEACHERS) -> Names:
    """What some statements do with names. `teachers` are the functions that fill a network with weights."""
    names = Names()
    _follow(statements, names)
    for statement in statements:
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names.changed |= _taught(statement, teachers) - names.bound
    return names


def _teachers(statements: Sequence[ast.stmt]) -> set[str]:
    """`TEACHERS`, and the notebook's own functions that call one of them, or one of those that do."""
    calls = {one.name: called(ast.unparse(one)) for one in statements if isinstance(one, ast.FunctionDef)}
    teachers = set(TEACHERS)
    while more := {name for name, names in calls.items() if names & teachers} - teachers:
        teachers |= more
    return teachers


def _taught(statement: ast.stmt, teachers: Collection[str]) -> set[str]:
    """The names whose objects a statement hands to a teacher as the first argument, one by one in a loop perhaps."""
    nodes = list(ast.walk(statement))
    calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    taught = set().union(*(_ids(call.args[0]) for call in calls if call.func.id in teachers and call.args))
    loops = [(node.target, node.iter) for node in nodes if isinstance(node, ast.comprehension | ast.For)]
    return taught.union(*(_ids(source) for target, source in loops if _ids(target) & taught))


def _ids(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _needed(statements: Sequence[Names], wanted: Sequence[int]) -> list[int]:
    """The places, in order, of the statements that those at `wanted` need, these included."""
    modules = set().union(*(names.imported for names in statements))
    needed: set[int] = set()
    waiting = list(wanted)
    while waiting:
        place = waiting.pop()
        if place in needed:
            continue
        needed.add(place)
        for name in statements[place].needed:
            waiting += _makers(statements[:place], name, modules)
        for name in statements[place].needed_later:  # whoever calls stands below, the last wanted one at the latest
            waiting += _makers(statements[: max(place, *wanted) + 1], name, modules)
    return sorted(needed)


def _makers(above: Sequence[Names], name: str, modules: set[str]) -> Iterator[int]:
    """The last statement that binds a name, and those below it that change what it holds; none for a built-in name."""
    last = next((index for index in reversed(range(len(above))) if name in above[index].bound), None)
    if last is not None:
        yield last
        if name not in modules:
            yield from (index for index in range(last + 1, len(above)) if name in above[index].changed)


def _follow(statements: Sequence[ast.stmt], names: Names) -> None:
    """Go through statements in the order in which they run."""
    for statement in statements:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                around = [*statement.decorator_list]
                around += statement.bases if isinstance(statement, ast.ClassDef) else _defaults(statement.args)
                for expression in around:
                    _read(expression, names)
                names.needed_later |= _free(statement)
                names.bound.add(statement.name)
            case ast.Import() | ast.ImportFrom():
                made = {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
                names.imported |= made
                names.bound |= made
            case ast.For() | ast.AsyncFor():
                _read(statement.iter, names)
                _write(statement.target, names)
                _follow([*statement.body, *statement.orelse], names)
            case ast.While() | ast.If():
                _read(statement.test, names)
                _follow([*statement.body, *statement.orelse], names)
            case ast.With() | ast.AsyncWith():
                for item in statement.items:
                    _read(item.context_expr, names)
                    if item.optional_vars is not None:
                        _write(item.optional_vars, names)
                _follow(statement.body, names)
            case ast.Try():
                handled = [line for handler in statement.handlers for line in handler.body]
                _follow([*statement.body, *handled, *statement.orelse, *statement.finalbody], names)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign() | ast.Delete():
                targets = [statement.target] if hasattr(statement, "target") else statement.targets
                if getattr(statement, "value", None) is not None:
                    _read(statement.value, names)
                for target in targets:
                    if isinstance(statement, ast.AugAssign):
                        _read_parts(target, names)
                    _write(target, names)
            case ast.Expr(value=ast.Call(func=ast.Attribute() as method)):
                _read(statement, names)
                names.changed |= _root(method) - names.bound
            case _:
                _read(statement, names)


def _read(node: ast.AST, names: Names) -> None:
    """Names in an expression, but for those that are bound by now and those of its comprehensions."""
    inside = {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load)}
    inside |= {
        argument.arg for part in ast.walk(node) if isinstance(part, ast.Lambda) for argument in _arguments(part.args)
    }
    used = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    names.needed |= used - inside - names.bound


def _write(target: ast.expr, names: Names) -> None:
    """A name is bound; `name[...]` and `name.part` change what it holds."""
    match target:
        case ast.Name():
            names.bound.add(target.id)
        case ast.Tuple() | ast.List():
            for part in target.elts:
                _write(part, names)
        case ast.Starred():
            _write(target.value, names)
        case _:
            _read_parts(target, names)
            names.changed |= _root(target) - names.bound


def _read_parts(target: ast.expr, names: Names) -> None:
    """What is read where `name += 1` or `name[index].part = 1` stands: the name, the index."""
    names.needed |= {part.id for part in ast.walk(target) if isinstance(part, ast.Name)} - names.bound


def _root(node: ast.expr) -> set[str]:
    """`net` of `net.body[0].weight`; nothing where no name stands in front."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return {node.id} if isinstance(node, ast.Name) else set()


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    annotations = [argument.annotation for argument in _arguments(arguments) if argument.annotation is not None]
    return [*arguments.defaults, *(default for default in arguments.kw_defaults if default is not None), *annotations]


def _arguments(arguments: ast.arguments) -> list[ast.arg]:
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [*named, *(one for one in (arguments.vararg, arguments.kwarg) if one is not None)]


def _free(definition: ast.stmt) -> set[str]:
    """The names that the bodies of a function or class read and do not bind themselves."""
    nodes = list(ast.walk(definition))
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {
        node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node is not definition
    }
    return {node.id for node in nodes if isinstance(node, ast.Name)} - bound
