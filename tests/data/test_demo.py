"""Three real domains are found on this machine, the same ones each time, and nothing is imported to
find them.
"""

import ast
import subprocess
import sys

import pytest

from bimix_sweep.data.demo import demo_texts


def test_three_domains_are_found_twice_alike_and_are_what_they_say():
    texts = demo_texts(60_000)
    sources = {name: text.source for name, text in texts.items()}
    assert list(sources) == ["python", "cpp", "english"]
    assert demo_texts(60_000) == texts
    for source in sources.values():
        assert sum(map(len, source.documents)) >= 50_000
    for text in sources["python"].documents:
        tree = ast.parse(text)
        assert not any(
            ast.get_docstring(node)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        )
    assert all(
        "namespace" in text or "{" in text or "#define" in text for text in sources["cpp"].documents
    )
    words = " ".join(sources["english"].documents).split()
    assert sum(word in {"the", "of", "a", "is", "to", "and"} for word in words) > 0.1 * len(words)


def test_torch_is_found_but_not_imported():
    program = (
        "import sys; from bimix_sweep.data.demo import demo_texts; demo_texts(20_000); "
        "print(sorted({'torch', 'scipy', 'sympy'} & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_estimate_of_what_the_machine_has_does_not_hang_on_how_much_is_read():
    few, more = demo_texts(300_000), demo_texts(1_200_000)
    for name, text in more.items():
        assert few[name].available_bytes == pytest.approx(text.available_bytes, rel=0.4)
        assert text.available_bytes > 1_200_000
