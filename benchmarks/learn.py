"""What learning costs: one update, one lesson, and making the model of a whole ledger anew.

    python -m benchmarks.learn [--number 2000] [--lessons 100000] [--messages FOLDER] [--out FILE]

CPU time of the process. `update` is the online protocol: features of a parsed message, log-odds, step. `step` is a
lesson of the ledger: unpack, log-odds, step. `lesson` is what a lesson costs whoever writes it, besides parsing and the
database: features, pack. The ledger is a SQLite file; its messages come again and again, each time as new lessons.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from sqlalchemy import insert

from benchmarks.machine import ROOT, describe, percentile
from benchmarks.mail import messages
from gateway import classify, log
from gateway.classify.features import VERSION, extract
from gateway.classify.model import Model
from gateway.classify.online import DEFAULT_CAPS, Caps, Learner
from gateway.classify.packed import pack
from gateway.learning import Publisher
from gateway.mail import parse
from gateway.stores.engine import make_engine, migrate
from gateway.stores.ledger import SqlLedger
from gateway.stores.schema import lesson as table
from gateway.types import Lesson, MailObject

# every step is made in full: none is spared by a cap, as few are in practice
FREE = Caps(lesson=DEFAULT_CAPS.lesson, trainer_day=1e9, trainer=1e9, day=1e9)
TRAINERS = 50
DAY_S = 86_400


def measure(work: Callable[[int], object], number: int) -> dict[str, float]:
    """Microseconds."""
    spent = []
    for one in range(number):
        began = time.process_time_ns()
        work(one)
        spent.append((time.process_time_ns() - began) / 1000)
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {"mean": round(sum(spent) / len(spent), 1)} | {
        name: round(percentile(spent, share), 1) for name, share in shares.items()
    }


def updates(model: Model, mails: list[MailObject], labels: list[bool]) -> dict[str, dict[str, float]]:
    """One message at a time."""
    learner = Learner(model, FREE)
    packed = [pack(extract(mail).vector()[0]) for mail in mails]
    replayed = Learner(model, FREE)

    def update(number: int) -> None:
        indices = np.sort(extract(mails[number]).vector()[0])
        learner.step(indices, labels[number], "t", number)

    return {
        "update": measure(update, len(mails)),
        "step": measure(lambda one: replayed.learn(made(one, packed[one], labels[one])), len(mails)),
        "lesson": measure(lambda one: pack(extract(mails[one]).vector()[0]), len(mails)),
    }


def made(number: int, packed: bytes, is_spam: bool) -> Lesson:
    """The lesson of this number; two hundred a day."""
    return Lesson(
        f"{number:016x}", DAY_S * 400.0 * number / 80_000, f"t{number % TRAINERS}", is_spam, "imap", f"{number:064x}",
        VERSION, packed,
    )  # fmt: skip


def replay(model: Model, mails: list[MailObject], labels: list[bool], number: int) -> dict[str, float]:
    """The whole ledger, as the admin process does it."""
    packed = [pack(extract(mail).vector()[0]) for mail in mails]
    names = tuple(Lesson.__slots__)

    def rows() -> Iterator[dict[str, object]]:
        for one in range(number):
            lesson = made(one, packed[one % len(mails)], labels[one % len(mails)])
            yield {name: getattr(lesson, name) for name in names} | {"day": int(lesson.at // DAY_S)}

    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/darban.db"
        migrate(url)
        engine = make_engine(url)
        with engine.begin() as connection:
            connection.execute(insert(table), list(rows()))
        making = Publisher(SqlLedger(engine), model, DEFAULT_CAPS, Path(folder) / "model")
        began = time.process_time()
        making.catch_up()
        spent = time.process_time() - began
        engine.dispose()
        size = Path(folder, "darban.db").stat().st_size
    assert making.state.model_id != model.model_id
    return {
        "lessons": number,
        "cpu_s": round(spent, 2),
        "us_a_lesson": round(1e6 * spent / number, 1),
        "ledger_bytes_a_lesson": round(size / number),
    }


def main() -> None:
    """Print JSON, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--lessons", type=int, default=100_000)
    parser.add_argument("--messages", default="", help="a folder of .eml files instead of the corpora")
    parser.add_argument("--model", default=str(ROOT / "models" / "default"))
    parser.add_argument("--out", default="", help="write the result as JSON")
    options = parser.parse_args()
    log.configure("warning")  # standard output is the result's alone
    model = classify.load(Path(options.model))
    samples = messages(options.number, options.messages)
    mails = [MailObject(one.envelope(), parse(one.content)) for one in samples]
    labels = [one.is_spam for one in samples]
    result = {
        "machine": describe(),
        "messages": len(mails),
        "model": model.model_id,
        "us": updates(model, mails, labels),
        "replay": replay(model, mails, labels, options.lessons),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        Path(options.out).write_text(text + "\n")


if __name__ == "__main__":
    main()
