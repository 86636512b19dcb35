"""The command line: a study from data to report, by one file of settings.

For those who outgrow notebooks. Each step reads the same file, makes what is not there
yet, and may be killed at any moment: the next run goes on and ends with the same files.

    stlearnkit data --example > study.toml
    stlearnkit data study.toml
    stlearnkit features study.toml
    stlearnkit train study.toml
    stlearnkit predict study.toml
    stlearnkit align study.toml
    stlearnkit impute study.toml
    stlearnkit evaluate study.toml
    stlearnkit report study.toml

What the numbers of a report mean is taught in the chapter "Judging a map".
"""

__all__ = ["app"]

from stlearnkit.commands._app import app
