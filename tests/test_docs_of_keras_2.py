"""What pages say of Keras 2 and tfmot runs under Keras 2."""

import os
import re

import pytest

from tests.export.latency_targets import UNTIMED
from tests.test_docs import OF_KERAS_2, PAGES, TRANSLATED, python_blocks, run_program

pytestmark = pytest.mark.skipif(os.environ.get("TF_USE_LEGACY_KERAS") != "1", reason="Keras 2 only")


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if python_blocks(page, OF_KERAS_2) and page not in TRANSLATED],
    ids=lambda page: page.name,
)
def test_blocks_and_code_in_tables_run(page, tmp_path):
    calls = code_of_tables(page)
    assert (len(calls) > 20) == (page.name == "from_tfmot.md")
    run_program([UNTIMED, *python_blocks(page, OF_KERAS_2), *calls], tmp_path)


def code_of_tables(page):
    """Row by row: tfmot's call, then ours."""
    rows = re.findall(r"^\| [^`|]* \| `([^|]*)` \| `([^|]*)` \|$", page.read_text(), re.MULTILINE)
    return [call for row in rows for call in row] if page.name == "from_tfmot.md" else []
