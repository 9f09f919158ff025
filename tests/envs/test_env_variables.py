"""The environment variables of processes in an env, and of installers."""

from __future__ import annotations

from pathlib import Path

from envs.variables import tool_environ, worker_environ

HOST = {
    "PATH": "/host/venv/bin:/usr/bin:/conda/bin",
    "HOME": "/home/someone",
    "PYTHONPATH": "/host/lib",
    "PYTHONHOME": "/host",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "VIRTUAL_ENV": "/host/venv",
    "CONDA_PREFIX": "/conda",
    "CONDA_PREFIX_1": "/conda",
    "CONDA_PKGS_DIRS": "/conda/pkgs",
    "UV_PYTHON": "3.8",
}


def test_the_hosts_python_environment_does_not_reach_a_worker():
    environ = worker_environ(Path("/env"), HOST)
    assert environ == {
        "PATH": "/env/bin:/usr/bin",
        "HOME": "/home/someone",
        "PYTHONUNBUFFERED": "1",
        "PYTHONNOUSERSITE": "1",
    }


def test_a_manager_sees_condas_settings_but_not_an_activated_env():
    environ = tool_environ(HOST)
    assert environ == {
        "PATH": "/usr/bin",
        "HOME": "/home/someone",
        "PYTHONUNBUFFERED": "1",
        "CONDA_PKGS_DIRS": "/conda/pkgs",
    }


def test_settings_of_pip_apply_to_uv():
    environ = tool_environ(
        {
            "PIP_INDEX_URL": "https://example.org/simple",
            "PIP_EXTRA_INDEX_URL": "https://a.example https://b.example",
            "PIP_FIND_LINKS": "/wheels /more",
            "PIP_CERT": "/cert.pem",
        }
    )
    assert environ["UV_INDEX_URL"] == "https://example.org/simple"
    assert environ["UV_EXTRA_INDEX_URL"] == "https://a.example https://b.example"
    assert environ["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert environ["UV_FIND_LINKS"] == "/wheels,/more"
    assert environ["SSL_CERT_FILE"] == "/cert.pem"


def test_settings_of_uv_have_precedence():
    environ = tool_environ({"PIP_INDEX_URL": "https://pip.example", "UV_INDEX_URL": "https://uv.example"})
    assert environ["UV_INDEX_URL"] == "https://uv.example"
