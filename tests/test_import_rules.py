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
    "vllm": {
        "prag_core/engines/vllm.py",
        "prag_core/engines/vllm_arguments.py",
        "prag_core/engines/vllm_async.py",
        "prag_core/engines/vllm_sampling.py",
        "prag_core/engines/vllm_worker.py",
        "prag_core/patches/vllm.py",
    },
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


def module_graph() -> dict[str, set[str]]:
    """Every module of the three layers → the modules it loads. `from package import module` loads the module."""
    modules = {
        name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."): path
        for layer in ("prag_core", "jobs", "cluster")
        for path in sources(layer)
    }
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        loaded = {module for module in imports_at_load(parse(path), name) if module in modules}
        graph[name] = {m for m in loaded if not any(other.startswith(f"{m}.") for other in loaded)} - {name}
    return graph


def package_graph(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same between packages: the first two parts of a module's name."""
    packages: dict[str, set[str]] = {}
    for name, loaded in graph.items():
        package = ".".join(name.split(".")[:2])
        packages.setdefault(package, set()).update({".".join(m.split(".")[:2]) for m in loaded} - {package})
    return packages


def on_a_circle(graph: dict[str, set[str]]) -> set[str]:
    """The nodes that reach themselves."""

    def reaches(start: str) -> set[str]:
        seen: set[str] = set()
        pending = [start]
        while pending:
            for node in graph.get(pending.pop(), set()) - seen:
                seen.add(node)
                pending.append(node)
        return seen

    return {node for node in graph if node in reaches(node)}


def test_no_two_modules_import_each_other_however_indirectly() -> None:
    graph = module_graph()
    assert len(graph) > 150
    assert not on_a_circle(graph)


def test_no_two_packages_import_each_other_however_indirectly() -> None:
    assert not on_a_circle(package_graph(module_graph()))


def test_a_circle_of_modules_and_of_packages_is_seen() -> None:
    graph = {"p.a.x": {"p.b.y"}, "p.b.y": {"p.b.z"}, "p.b.z": {"p.b.y"}, "p.b.w": {"p.a.v"}, "p.a.v": set()}
    assert on_a_circle(graph) == {"p.b.y", "p.b.z"}
    assert on_a_circle(package_graph(graph)) == {"p.a", "p.b"}


def test_only_shared_records_and_rules_stand_directly_under_prag_core() -> None:
    flat = {path.stem for path in (ROOT / "prag_core").glob("*.py")} - {"__init__"}
    assert flat <= {"records", "errors", "identity", "storage", "versions"}


def test_the_checker_itself_sees_every_way_to_import() -> None:
    tree = ast.parse(
        "import a.b\nfrom c import d\nfrom . import e\ndef f():\n    import g\nimportlib.import_module('h.i')\n"
        "if TYPE_CHECKING:\n    import j\n"
    )
    assert {top(module) for module in imports(tree, "here")} == {"a", "c", "here", "g", "h", "j"}
    assert {top(module) for module in imports_at_load(tree, "here")} == {"a", "c", "here"}
