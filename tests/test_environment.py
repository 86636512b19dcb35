"""What the first cell of a chapter shows."""

import platform
from importlib.metadata import version

import pytest
import torch

from stlearnkit.environment import Report, report


def test_report_names_the_versions_that_run():
    found = report(cpu_minutes=2, gpu_minutes=1)
    assert found.versions["Python"] == platform.python_version()
    assert found.versions["torch"] == version("torch")
    assert found.versions["stlearnkit"] == version("stlearnkit")
    assert found.n_cores >= 1


def test_report_without_gpu_promises_the_cpu_minutes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = report(cpu_minutes=2.5, gpu_minutes=1)
    assert found.minutes == 2.5
    assert "No GPU found" in repr(found)
    assert "about 2.5 min (1 min on a GPU)" in repr(found)


def test_report_with_gpu_names_it_and_promises_its_minutes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    found = report(cpu_minutes=3, gpu_minutes=1)
    assert found.minutes == 1
    assert "GPU: Tesla T4. This chapter takes about 1 min (3 min on two" in repr(found)


def test_report_text_by_hand():
    text = repr(Report({"a": "1", "b": "2"}, "X", 4, cpu_minutes=3, gpu_minutes=2))
    assert text == (
        "a 1, b 2\nGPU: X. This chapter takes about 2 min (3 min on two CPU cores)."
    )


@pytest.mark.parametrize("wrong", [{"cpu_minutes": 0}, {"gpu_minutes": -1}])
def test_report_refuses_minutes_that_cannot_be(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"{name} is {value}, expected a positive"):
        report(**{"cpu_minutes": 1, "gpu_minutes": 1, **wrong})
