"""Three real domains are found on this machine, the same ones each time, and nothing is imported to find them."""

import ast
import subprocess
import sys

from bimix_sweep.data.demo import demo_sources


def test_three_domains_are_found_twice_alike_and_are_what_they_say():
    sources = demo_sources(60_000)
    assert list(sources) == ["python", "cpp", "english"]
    assert demo_sources(60_000) == sources
    for source in sources.values():
        assert sum(map(len, source.documents)) >= 50_000
    for text in sources["python"].documents:
        tree = ast.parse(text)
        assert not any(ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef))
    assert all("namespace" in text or "{" in text or "#define" in text for text in sources["cpp"].documents)
    words = " ".join(sources["english"].documents).split()
    assert sum(word in {"the", "of", "a", "is", "to", "and"} for word in words) > 0.1 * len(words)


def test_torch_is_found_but_not_imported():
    program = "import sys; from bimix_sweep.data.demo import demo_sources; demo_sources(20_000); print(sorted({'torch', 'scipy', 'sympy'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
