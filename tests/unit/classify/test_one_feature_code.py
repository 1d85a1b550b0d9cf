"""One feature code for training and serving: every door gives a message the same features, whoever the gateway is, and
whatever it asked or remembers. A stage that fails takes features away, never the prediction."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from gateway.app.pipeline import make_identity
from gateway.auth.identity import Identity, Person
from gateway.auth.identity import make_identity as identity_of
from gateway.checks import CHECKS, make_checks
from gateway.checks.domain_list import FREEMAIL, SHORTENERS
from gateway.classify.corpus import sources
from gateway.classify.evaluate.cases import Case, load_cases
from gateway.classify.extraction import extract_rows
from gateway.classify.facts import OF_BODY, OF_RELATIONS
from gateway.classify.features import SIZE, VERSION, extract
from gateway.classify.model import Model, Reading
from gateway.classify.packed import unpack
from gateway.classify.workers import LocalWorkers
from gateway.config.settings import Domain, Settings
from gateway.config.settings import Identity as Named
from gateway.config.settings import Person as NamedPerson
from gateway.learning import Teacher
from gateway.mail import parse
from gateway.net.dns import OfflineResolver
from gateway.ports import MessageCheck
from gateway.scan.pipeline import Pipeline
from gateway.stores.engine import make_engine, migrate
from gateway.stores.ledger import SqlLedger
from gateway.types import AuthResult, Finding, History, MailObject, Past
from tests.builders import envelope, message_bytes
from tests.builders import mail as mail_of
from tests.check_case import findings_of
from tests.check_case import load_cases as load_check_cases
from tests.fakes import NoRules

CASES = load_cases(Path(__file__).parents[2] / "cases" / "hard")
SOME = list({case.kind: case for case in CASES}.values())  # the last one of each kind
FEATURES = OF_BODY | OF_RELATIONS
SETTINGS = Settings(
    domain=(Domain(name="darban.test", next_hop="maildir:/nowhere"), Domain(name="example.org", next_hop="maildir:/x")),
    identity=Named(
        partners=("example.com", "supplier.example"),
        freemail=("example.net",),
        shorteners=("shop.example",),
        person=(NamedPerson(name="Sara Rahimi", address="sara@darban.test", role="director"),),
    ),
)


@dataclass
class Served:
    """A classifier that keeps what it was asked about."""

    model_id: str = "served"
    asked: list[MailObject] = field(default_factory=list)

    def read(self, mail: MailObject) -> Reading:
        self.asked.append(mail)
        return Model(self.model_id, np.zeros(SIZE, np.float32), 0.0, 1.0, 0.0).read(mail)

    def refresh(self) -> None:
        pass


def pipeline_of(classifier: Served, checks: tuple[MessageCheck, ...]) -> Pipeline:
    return Pipeline(
        resolver=OfflineResolver(),
        message_checks=checks,
        envelope_checks=(),
        rules=NoRules(),  # type: ignore[arg-type]
        classifier=classifier,
        deadline_s=5.0,
    )


def indices_of(mail: MailObject) -> list[int]:
    return sorted(extract(mail).vector()[0].tolist())


def names_of(mail: MailObject) -> set[str]:
    return FEATURES & {one.name for one in mail.findings}


# --- the doors -------------------------------------------------------------------------------------------------------


def trained_on(cases: list[Case], folder: Path) -> dict[str, list[int]]:
    """The features of training, by the path of each message in its corpus."""
    lines = ["path\tlabel\tdate\tmail_from\tclient_ip\thelo"]
    with tarfile.open(folder / "cases.tar.xz", "w:xz") as pack:
        for case in cases:
            around = case.envelope
            label = "spam" if case.is_spam else "ham"
            lines.append("\t".join([case.id, label, "", around.reverse_path, around.client.ip, around.client.helo]))
            add(pack, f"cases/{case.id}", case.content)
        add(pack, "cases/index.tsv", "\n".join(lines).encode())
    found = {}
    for rows in extract_rows(sources([folder]), LocalWorkers(1)):
        for number, path in enumerate(rows.paths.tolist()):
            found[path] = rows.indices[rows.bounds[number] : rows.bounds[number + 1]].tolist()
    return found


def add(pack: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    pack.addfile(member, io.BytesIO(content))


async def test_every_door_gives_the_same_features(tmp_path: Path) -> None:
    migrate(url := f"sqlite:///{tmp_path}/darban.db")
    engine = make_engine(url)
    ledger = SqlLedger(engine)
    teacher = Teacher(ledger, 1000)
    trained = trained_on(SOME, tmp_path)
    seen: set[str] = set()
    for case in SOME:
        classifier = Served()
        pipeline = pipeline_of(classifier, make_checks(make_identity(SETTINGS)))
        verdict = await pipeline.score(case.envelope, case.content)
        pipeline.judge_again(pipeline.case(case.envelope, case.content, verdict), verdict, explained=True)
        served = [indices_of(mail) for mail in classifier.asked]
        assert len(served) == 2, "judged twice"
        teacher.teach(
            trainer=case.id,
            is_spam=case.is_spam,
            via="command",
            envelope=case.envelope,
            content=case.content,
            auth=verdict.auth,
        )
        assert served == [trained[case.id]] * 2, case.id
        seen |= names_of(classifier.asked[0])
    lessons = {lesson.trainer: unpack(lesson.indices).tolist() for lesson in ledger.active(VERSION)}
    assert lessons == trained
    assert len(seen) >= 8, "messages without findings prove nothing of findings"
    engine.dispose()


# --- what the findings among them depend on --------------------------------------------------------------------------

_DOMAIN = re.compile(rb"(?:[a-z0-9-]{1,63}\.){1,4}[a-z]{2,24}")
MAILS = {f"hard {case.id}": MailObject(case.envelope, parse(case.content)) for case in CASES}
MAILS |= {case.id: case.mail for case in load_check_cases()}
PROVEN = (
    AuthResult("spf", "pass", "example.org", identity="mailfrom", is_aligned=True),
    AuthResult("dkim", "pass", "example.org", is_aligned=True),
    AuthResult("dmarc", "pass", "example.org"),
)


def identities(mail: MailObject) -> Iterator[Identity]:
    """Who knows nobody, who owns the author's domain, and who owns all others that the message names."""
    mentioned = {one.decode() for one in _DOMAIN.findall(mail.message.raw[:20_000].lower())}
    author = {box.domain for box in mail.message.author}
    people = [Person(box.display_name, "boss@darban.test") for box in mail.message.author if box.display_name]
    yield identity_of()
    yield identity_of(own=author - {""}, partners=mentioned - author, freemail=FREEMAIL, shorteners=SHORTENERS)
    yield identity_of(own=mentioned - author, freemail=mentioned | author, shorteners=mentioned, people=people)


def features_among(mail: MailObject, checks: tuple[MessageCheck, ...] = CHECKS) -> frozenset[str]:
    return FEATURES.intersection(finding.name for finding in findings_of(mail, checks))


@pytest.mark.parametrize("name", MAILS)
def test_they_depend_on_the_message_alone(name: str) -> None:
    mail = replace(MAILS[name], auth=())
    expected = features_among(mail)
    for number, identity in enumerate(identities(mail)):
        assert features_among(mail, make_checks(identity)) == expected, f"[identity] {number}"
    assert features_among(replace(mail, auth=PROVEN)) == expected, "authentication"
    past = Past(good=100.0)
    known = replace(mail.envelope, history=History("sara@example.org", past, past, past, (9.0,)), received_at=4e9)
    assert features_among(replace(mail, envelope=known)) == expected, "memory or clock"


def test_each_of_them_was_looked_at() -> None:
    assert {name for mail in MAILS.values() for name in features_among(mail)} == FEATURES


# --- without them ----------------------------------------------------------------------------------------------------


class Broken:
    name, findings = "broken", ()

    def check(self, mail: MailObject) -> Iterator[Finding]:
        raise ZeroDivisionError


SHOUTING = message_bytes("Click http://203.0.113.7/a now\r\n", Subject="YOU HAVE WON A PRIZE")


@pytest.mark.parametrize(
    ("checks", "skip", "is_seen"),
    [
        (CHECKS, (), True),
        (CHECKS, ("checks",), False),
        ((Broken(),), (), False),
        ((Broken(), *CHECKS), (), True),
        (None, (), False),  # no tuple: the stage itself raises
    ],
    ids=["all", "skipped", "failing", "one fails", "the stage fails"],
)
async def test_a_prediction_needs_no_findings(
    checks: tuple[MessageCheck, ...] | None, skip: tuple[str, ...], is_seen: bool
) -> None:
    classifier = Served()
    verdict = await pipeline_of(classifier, checks).score(envelope(), SHOUTING, skip)  # type: ignore[arg-type]
    assert verdict.prediction is not None
    seen = mail_of(SHOUTING)
    assert names_of(seen) >= {"SUBJECT_ALL_CAPS", "URL_IP_HOST"}
    expected = seen if is_seen else replace(seen, findings=())
    assert [indices_of(mail) for mail in classifier.asked] == [indices_of(expected)]
    assert indices_of(seen) != indices_of(replace(seen, findings=()))
