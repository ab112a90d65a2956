"""Count other courses: `python notebooks/count.py FOLDER` writes docs/courses.json.

The clones stand in FOLDER/OWNER+NAME. Each is read by git at its newest commit; it needs no work tree. What is
counted, and how, is in anrot_lib/publish/courses.py.
"""

import datetime
import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from anrot_lib.core import paths
from anrot_lib.publish import courses

# Name -> repository, and which of its files are the notebooks of the course: no templates, no twins without answers.
KNOWN = {
    "uvadlc notebooks": ("phlippe/uvadlc_notebooks", r"docs/tutorial_notebooks/(?!DL2/template/).*\.ipynb"),
    "TeachOpenCADD": ("volkamerlab/teachopencadd", r"teachopencadd/talktorials/T(?!000).*/talktorial\.ipynb"),
    "UDL": ("udlbook/udlbook", r"Notebooks/.*\.ipynb"),
    "d2l": ("d2l-ai/d2l-en", r"chapter_.*\.md"),
}


def run_git(clone: Path, *arguments: str) -> str | None:
    """What git prints; None if it fails, as for a file that a clone lacks."""
    done = subprocess.run(["git", "-C", str(clone), *arguments], capture_output=True)
    return None if done.returncode else done.stdout.decode("utf-8")


def count(name: str, clone: Path) -> courses.Course:
    repository, pattern = KNOWN[name]
    listed, commit = (run_git(clone, *what.split()) for what in ("ls-tree -r --name-only HEAD", "rev-parse HEAD"))
    if listed is None or commit is None:
        raise SystemExit(f"{clone} is no clone of {repository}")
    found, missing = [], 0
    for path in listed.splitlines():
        if re.fullmatch(pattern, path):
            text = run_git(clone, "show", f"HEAD:{path}")
            if text is None:
                missing += 1
            elif path.endswith(".ipynb") or courses.CODE.search(text):
                found.append(courses.count_one(text, path.endswith(".ipynb")))
    counts = courses.add_counts(found, missing)
    today = datetime.date.today().isoformat()
    return courses.Course(name, f"https://github.com/{repository}", commit.strip(), today, counts)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("name the folder of the clones", file=sys.stderr)
        return 2
    found = []
    for name, (repository, _) in KNOWN.items():
        folder = Path(arguments[0]) / repository.replace("/", "+")
        found.append(asdict(count(name, folder / "repo" if (folder / "repo").is_dir() else folder)))
    paths.write_text(courses.FILE, json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
