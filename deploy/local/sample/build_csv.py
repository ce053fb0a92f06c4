"""Writes threads.csv (columns examples, ground_truth) from threads/*.txt: the mail, a line "=== summary", the summary.

usage: build_csv.py          writes threads.csv beside itself
       build_csv.py --check  exits 1 when threads.csv is not what it would write
"""
import csv
import io
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
MARK = "\n=== summary\n"


def build():
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\r\n")  # RFC 4180
    rows.writerow(["examples", "ground_truth"])
    for path in sorted((HERE / "threads").glob("*.txt")):
        mail, mark, summary = path.read_text(encoding="utf-8").partition(MARK)
        if not mark or not summary.strip():
            sys.exit(f"{path}: no summary after a line '=== summary'")
        rows.writerow([mail.strip("\n") + "\n", summary.strip()])
    return out.getvalue().encode("utf-8")


if __name__ == "__main__":
    target = HERE / "threads.csv"
    if sys.argv[1:] == ["--check"]:
        if target.read_bytes() != build():
            sys.exit("threads.csv is not up to date: run build_csv.py")
    else:
        target.write_bytes(build())
