"""The layers import downwards only, and heavy engines are imported by the one module that needs them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = {  # folder → top-level packages it never imports
    "prag_core": {"ray", "jobs", "cluster", "tests", "benchmarks"},
    "jobs": {"cluster", "tests", "benchmarks"},
    "cluster": {"jobs", "tests", "benchmarks"},
    "conf": {"ray", "jobs", "cluster", "prag_core"},
}
MAY_REACH_ACROSS = {"jobs/cli.py"}
ONLY_IN = {  # package → the modules that may import it
    "vllm": {"prag_core/engines/vllm.py", "prag_core/engines/vllm_async.py"},
    "s3fs": {"prag_core/storage/objects.py"},
    "boto3": set(),
    "matplotlib": {"prag_core/evaluation/plot.py"},
    "sklearn": {"prag_core/experiments/router_training/fit.py"},
}
LAZY = (
    "vllm",
    "transformers",
    "peft",
    "matplotlib",
    "s3fs",
    "sklearn",
)  # slow to import: inside functions only
MAY_IMPORT_AT_ONCE = {
    "prag_core/engines/vllm.py": "vllm",
    "prag_core/engines/transformers.py": "transformers",
}


def sources(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Full names of all modules that a tree imports, wherever in it; importlib's by their literal names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield package
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            yield from (
                argument.value
                for argument in node.args
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            )


def imports_at_load(tree: ast.Module, package: str) -> Iterator[str]:
    """What is imported as soon as the module is: not inside functions, not for type checking only."""
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(node, package)
        pending += list(ast.iter_child_nodes(node))


def top(module: str) -> str:
    return module.split(".")[0]


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_nothing_above_it(layer: str) -> None:
    wrong = [
        f"{name_of(path)} imports {module}"
        for path in sources(layer)
        if name_of(path) not in MAY_REACH_ACROSS
        for module in imports(parse(path), layer)
        if top(module) in LAYERS[layer]
    ]
    assert not wrong


def test_the_rules_are_held_over_files_that_exist() -> None:
    assert len(sources("prag_core")) > 10 and len(sources("jobs")) > 3
    for module in (*MAY_REACH_ACROSS, *MAY_IMPORT_AT_ONCE):
        assert (ROOT / module).exists(), module


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_heavy_package_is_imported_by_one_module_only(package: str) -> None:
    importers = {
        name_of(path)
        for layer in ("prag_core", "jobs", "cluster")
        for path in sources(layer)
        if package in {top(module) for module in imports(parse(path), layer)}
    }
    assert importers <= ONLY_IN[package]


def test_slow_packages_are_imported_when_needed_not_when_a_module_is() -> None:
    wrong = [
        f"{name_of(path)} imports {module}"
        for layer in ("prag_core", "jobs")
        for path in sources(layer)
        for module in imports_at_load(parse(path), layer)
        if top(module) in LAZY and MAY_IMPORT_AT_ONCE.get(name_of(path)) != top(module)
    ]
    assert not wrong


def test_within_prag_core_imports_point_one_way() -> None:
    """No two modules import each other, however indirectly, as they are loaded."""
    modules = {
        name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."): path
        for path in sources("prag_core")
    }
    graph = {
        name: {
            module
            for module in imports_at_load(parse(path), "prag_core")
            if module in modules and module != name
        }
        for name, path in modules.items()
    }
    packages = {name for name, path in modules.items() if path.name == "__init__.py"}

    def reaches(start: str) -> set[str]:
        seen: set[str] = set()
        pending = [start]
        while pending:
            for module in graph[pending.pop()] - seen:
                seen.add(module)
                pending.append(module)
        return seen

    cycles = {name for name in graph if name in reaches(name)} - packages
    inside = {
        name
        for name in cycles
        if not any(name.startswith(f"{package}.") for package in packages if package != "prag_core")
    }
    assert not inside


def test_the_checker_itself_sees_every_way_to_import() -> None:
    tree = ast.parse(
        "import a.b\nfrom c import d\nfrom . import e\ndef f():\n    import g\nimportlib.import_module('h.i')\n"
        "if TYPE_CHECKING:\n    import j\n"
    )
    assert {top(module) for module in imports(tree, "here")} == {"a", "c", "here", "g", "h", "j"}
    assert {top(module) for module in imports_at_load(tree, "here")} == {"a", "c", "here"}
