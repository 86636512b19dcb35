"""What all tests share: where the real sections are, and what happens without them."""

import os
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import tifffile
from hypothesis import settings

# No test is timed: a busy machine is no fault of the code.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")


def _real_data() -> Path | None:
    """Return the folder that `STLEARNKIT_DATA` names, if it has real sections."""
    folder = Path(os.environ.get("STLEARNKIT_DATA", ""))
    return folder if (folder / "her2st").is_dir() else None


def pytest_report_header() -> str:
    """Say whether the tests on real sections run."""
    folder = _real_data()
    if folder is None:
        return (
            "real sections: none (STLEARNKIT_DATA names no folder with her2st/); "
            "tests marked real_data are left out"
        )
    return f"real sections: {folder}"


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out the tests on real sections where there are none."""
    if _real_data() is not None:
        return
    left_out = [item for item in items if "real_data" in item.keywords]
    items[:] = [item for item in items if "real_data" not in item.keywords]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Signatures are not checked, as for a reader: the library's own words count."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def tiff_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of reads from TIFF files, as they happen; clear it to start anew."""
    reads = []
    read = tifffile.FileHandle.read

    def counted(handle, size=-1):
        reads.append(size)
        return read(handle, size)

    monkeypatch.setattr(tifffile.FileHandle, "read", counted)
    return reads
