"""Hostile mail on the page of a held message, in a real browser: nothing runs, nothing is fetched, nothing leads away.

Every payload, when it does something, calls a canary: a server of its own that notes each connection. That the canary
hears those payloads which today's browser obeys is shown first, on a page that renders the HTML as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import uvicorn
from fastapi import Response
from playwright.sync_api import Browser, BrowserContext, Page

from gateway.scan.explain import verdict_json
from gateway.stores.quarantine import SqlQuarantine
from gateway.types import AuthResult, Contribution, Disposition, HeldMessage, Hit, Prediction, Summary
from gateway.web import safe_html
from tests.builders import recipient, verdict
from tests.e2e.peers import free_port, wait_for_port
from tests.web_app import make_web_app

pytestmark = pytest.mark.e2e
PASSWORD = "a long password of the tests"
SHOWS = ("message", "text", "fields", "parts", "source")

# (name, HTML, does a browser of today obey it without a click); @ is the canary's address, # the script that calls it
PAYLOADS = [
    ("script", "<script>#</script>", True),
    ("script-src", "<script src='@/script-src'></script>", True),
    ("script-split", "<scr\0ipt>#</scr\0ipt><sCrIpT >#</sCrIpT >", True),
    ("img-onerror", "<img src=x: onerror=#>", True),
    ("img-slash", "<img/src='x:'/onerror=#//", False),
    ("svg-onload", "<svg onload=#>", True),
    ("svg-script", "<svg><script>#</script></svg>", True),
    ("svg-entity", "<svg><script>&#102;etch(`@/svg-entity`)</script></svg>", True),
    ("svg-use", "<svg><use href='@/svg-use#x'/></svg>", False),
    ("svg-image", "<svg><image href='@/svg-image'/></svg>", True),
    ("svg-feimage", "<svg><filter id=f><feImage href='@/svg-feimage'/></filter><rect width=9 height=9 filter=url(#f)/></svg>", False),
    ("svg-animate", "<svg><a><animate attributeName=href values=javascript:# /><text>x</text></a></svg>", False),
    ("svg-set", "<svg><set attributeName=onload to=# /></svg>", False),
    ("svg-foreign", "<svg><foreignObject><iframe src=javascript:#></iframe></foreignObject></svg>", True),
    ("svg-style", "<svg><style><img src=x: onerror=#></style></svg>", True),
    ("svg-title", "<svg><title><a id='</title><img src=x: onerror=#>'></a></title></svg>", False),
    ("math-mtext", "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x: onerror=#&gt;'>", False),
    ("math-style", "<math><mtext></p><style><img src=x: onerror=#></style>", False),
    ("math-href", "<math href=javascript:#><mtext>x</mtext></math>", False),
    ("mxss-noscript", "<noscript><p title='</noscript><img src=x: onerror=#>'></noscript>", True),
    ("mxss-noscript-markup", "<noscript><img src=x: onerror=#></noscript>", False),
    ("mxss-template", "<template><img src=x: onerror=#></template>", False),
    ("mxss-form", "<form><math><mtext></form><form><mglyph><style></math><img src=x: onerror=#>", False),
    ("mxss-listing", "<listing>&lt;img src=x: onerror=#&gt;</listing>", False),
    ("mxss-xmp", "<xmp><p title='</xmp><img src=x: onerror=#>'></xmp>", True),
    ("mxss-textarea", "<textarea><p title='</textarea><img src=x: onerror=#>'>", True),
    ("mxss-title", "<title><p title='</title><img src=x: onerror=#>'>", True),
    ("mxss-comment", "<!--><img src=x: onerror=#>-->", True),
    ("mxss-comment-bang", "<!-- --!><img src=x: onerror=#> -->", True),
    ("mxss-cdata", "<svg><![CDATA[<img src=x: onerror=#>]]></svg>", False),
    ("mxss-backtick", "<img alt='``onerror=#' src=x:>", False),
    ("mxss-plaintext", "<plaintext><img src=x: onerror=#>", False),
    ("mxss-select", "<select><template><option><img src=x: onerror=#></select>", False),
    ("mxss-entities", "&lt;img src=x: onerror=#&gt;&#60;script&#62;#&#60;/script&#62;", False),
    ("body-onload", "<body onload=#>", True),
    ("details", "<details open ontoggle=#>x</details>", True),
    ("autofocus", "<input autofocus onfocus=#>", True),
    ("video", "<video src='@/video' poster='@/poster' onerror=#></video>", True),
    ("audio", "<audio src='@/audio' preload=auto></audio>", True),
    ("marquee", "<marquee onstart=#>x</marquee>", False),
    ("iframe", "<iframe src='@/iframe'></iframe>", True),
    ("iframe-js", "<iframe src=javascript:#></iframe>", True),
    ("iframe-srcdoc", "<iframe srcdoc='<script>#</script>'></iframe>", True),
    ("object", "<object data='@/object'></object>", True),
    ("embed", "<embed src='@/embed'>", True),
    ("applet", "<applet code=x archive='@/applet'></applet>", False),
    ("frame", "<frameset><frame src='@/frame'></frameset>", False),
    ("portal", "<fencedframe src='@/fenced'></fencedframe>", False),
    ("meta-refresh", "<meta http-equiv=refresh content='0;url=@/refresh'>", True),
    ("meta-refresh-js", "<meta http-equiv=refresh content='0;url=javascript:#'>", False),
    ("meta-csp", "<meta http-equiv=Content-Security-Policy content=\"default-src *\"><img src='@/meta-csp'>", True),
    ("base", "<base href='@/'><img src=base>", True),
    ("link-stylesheet", "<link rel=stylesheet href='@/sheet'>", True),
    ("link-preload", "<link rel=preload as=image href='@/preload'>", True),
    ("link-prefetch", "<link rel=prefetch href='@/prefetch'>", True),
    ("link-preconnect", "<link rel=preconnect href='@/'>", False),
    ("link-dns-prefetch", "<link rel=dns-prefetch href='@/'>", False),
    ("link-modulepreload", "<link rel=modulepreload href='@/module'>", True),
    ("link-icon", "<link rel='shortcut icon' href='@/icon'>", False),
    ("link-manifest", "<link rel=manifest href='@/manifest'>", False),
    ("img", "<img src='@/img'>", True),
    ("img-srcset", "<img srcset='@/srcset 1x'>", True),
    ("picture", "<picture><source srcset='@/source'><img></picture>", True),
    ("img-cid", "<img src='cid:part1@x'>", False),
    ("img-protocol-relative", "<img src='//%/relative'>", True),
    ("input-image", "<input type=image src='@/input'>", True),
    ("background", "<table background='@/background'><tr><td>x</table>", True),
    ("css-url", "<div style='background:url(@/css-url)'>x</div>", True),
    ("css-import", "<style>@import url(@/css-import);</style>", True),
    ("css-font", "<style>@font-face{font-family:f;src:url(@/font)}p{font-family:f}</style><p>x", True),
    ("css-image-set", "<div style=\"background-image:image-set('@/image-set' 1x)\">x</div>", True),
    ("css-cursor", "<div style='cursor:url(@/cursor),auto;position:fixed;inset:0'>x</div>", False),
    ("css-list", "<ul style='list-style-image:url(@/list)'><li>x</ul>", True),
    ("css-content", "<style>p::before{content:url(@/content)}</style><p>x", True),
    ("css-selector", "<style>body:has(p){background:url(@/selector)}</style><p>x", True),
    ("css-expression", "<div style='width:expression(#)'>x</div>", False),
    ("css-binding", "<div style='-moz-binding:url(@/xbl);behavior:url(@/htc)'>x</div>", False),
    ("css-escape", "<style>@im\\port url(@/escape);</style></style><script>#</script>", True),
    ("css-overlay", "<a href='@/overlay' style='position:fixed;inset:0;z-index:99'>x</a>", False),
    ("form", "<form action='@/form'><input name=p><button autofocus>Sign in</button></form>", False),
    ("form-submit", "<form id=f action='@/form-submit'></form><script>f.submit()</script>", True),
    ("form-formaction", "<form><button formaction=javascript:#>x</button></form>", False),
    ("a-javascript", "<a href='javascript:#'>click</a>", False),
    ("a-javascript-tab", "<a href='java\tscript:#'>click</a>", False),
    ("a-entity", "<a href='&#106;avascript&colon;#'>click</a>", False),
    ("a-data", "<a href='data:text/html,<script>#</script>'>click</a>", False),
    ("a-vbscript", "<a href='vbscript:msgbox(1)'>click</a>", False),
    ("a-ping", "<a ping='@/ping' href='@/a'>click</a>", False),
    ("a-target", "<a target=_top href='@/top'>click</a>", False),
    ("a-download", "<a download href='@/download'>click</a>", False),
    ("area", "<map name=m><area href='@/area' coords=0,0,99,99></map><img usemap=#m width=99 height=99>", False),
    ("bidi", "<p>\u202e<a href='@/bidi'>moc.knab</a>\u202c \u2067x", False),
    ("unclosed-attribute", "<img src='@/leak?", False),
    ("attribute-break", "<td dir='ltr\"><img src=x: onerror=#>' align='\" onmouseover=#'>x</td>", False),
    ("conditional", "<!--[if true]><script>#</script><![endif]-->", False),
    ("xml", "<?xml-stylesheet href='@/xml'?><xml id=x><script>#</script></xml>", True),
    ("dialog", "<dialog open><form method=dialog><button onclick=#>x</button></form></dialog>", False),
    ("popover", "<div popover id=p onbeforetoggle=#>x</div><button popovertarget=p>y</button>", False),
    ("shadow", "<div><template shadowrootmode=open><img src='@/shadow'></template></div>", True),
    ("speculation", "<script type=speculationrules>{\"prefetch\":[{\"source\":\"list\",\"urls\":[\"@/spec\"]}]}</script>", False),
    ("importmap", "<script type=module>import '@/module.js'</script>", True),
    ("track", "<video><track default src='@/track'></video>", False),
    ("blockquote-cite", "<blockquote cite='@/cite'>x</blockquote><q cite='javascript:#'>x</q>", False),
]  # fmt: skip
# the policy alone lets Chromium open a connection for these, on which it then says nothing
CONNECTS = {"iframe", "frame"}
CONNECTED = "a connection"
# (name, Content-Type of the HTML part, its bytes)
CHARSETS = [
    ("utf-7", "text/html; charset=utf-7", b"+ADw-script+AD4-#+ADw-/script+AD4-"),
    ("utf-16", "text/html; charset=utf-16", "\ufeff<script>#</script>".encode("utf-16-le")),
    ("iso-2022-jp", "text/html; charset=iso-2022-jp", b"\x1b$B<script>#</script>\x1b(B<img alt='\x1b$B' src=x: onerror=#>"),
    ("iso-2022-kr", "text/html; charset=iso-2022-kr", b"\x0e<script>#</script>\x0f<script>#</script>"),
    ("hz", "text/html; charset=hz-gb-2312", b"~{<script>#</script>~}<script>#</script>"),
    ("x-user-defined", "text/html; charset=x-user-defined", b"<script>#</script>"),
    ("overlong", "text/html; charset=utf-8", b"\xc0\xbcscript\xc0\xbe#\xc0\xbc/script\xc0\xbe"),
    ("ebcdic", "text/html; charset=cp037", "<script>#</script>".encode("cp037")),
    ("charset-name", "text/html; charset=\"><script>#</script>", b"<script>#</script>"),
    ("xhtml", "application/xhtml+xml", b"<html xmlns='http://www.w3.org/1999/xhtml'><script>#</script></html>"),
    ("svg-part", "image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg' onload='#'/>"),
]  # fmt: skip
# what strangers write into fields, names and replies
TEXTS = [
    "<script>#</script>",
    "\"><img src=x: onerror=#>",
    "'><svg onload=#>",
    "</title></textarea></style><script>#</script>",
    "</bdi><iframe src=javascript:#></iframe>",
    "javascript:#",
    "{{ 7 * 7 }}{% raw %}",
    "\u202e\u2066<img src=x: onerror=#>\u2028",
    "a\0<script>#</script>\x1b",
    "“<script>#</script>”",
    "\u2068<img src=x: onerror=#>\u2069",
    "<!--", "]]>", "&lt;script&gt;#&lt;/script&gt;",
]  # fmt: skip


class Canary:
    """Notes every connection, whatever is said on it."""

    def __init__(self) -> None:
        heard = self.heard = []

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                heard.append(CONNECTED)
                self.request.settimeout(2)
                with contextlib.suppress(OSError):
                    heard.append(self.request.recv(2000).split(b"\r\n")[0].decode("latin-1"))
                    self.request.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

        socketserver.ThreadingTCPServer.daemon_threads = True
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def armed(self, payload: str) -> str:
        """Its address and script put into a payload. The script holds no blank and no quotation mark."""
        script = f"console.log(`canary`),fetch(`http://{self.host}/script`)"
        return payload.replace("usemap=#m", "usemap=&num;m").replace("url(#f)", "url(&num;f)").replace("/svg-use#x", "/svg-use&num;x").replace(
            "&#102;", "&%102;").replace("&#60;", "&%60;").replace("&#62;", "&%62;").replace("&#106;", "&%106;").replace("#", script).replace(
            "&%", "&#").replace("&num;", "#").replace("%/relative", f"{self.host}/relative").replace("@import", "\1import").replace(
            "@font", "\1font").replace("@im\\", "\1im\\").replace("1@x", "1\1x").replace("@", f"http://{self.host}").replace("\1", "@")  # fmt: skip


@dataclass
class Desk:
    """The pages over real stores, and what was put into the quarantine."""

    url: str
    canary: Canary
    quarantine: SqlQuarantine

    def hold(self, content: bytes, text: str = "plain") -> str:
        """Held with `text` in every field that a stranger, a rule or a next hop can write."""
        key = hashlib.sha256(content + text.encode("utf-8", "replace")).hexdigest()
        auth = (
            AuthResult("iprev", "fail", text, identity=text, reason=text),
            AuthResult("spf", "softfail", text, identity="mailfrom", reason=text),
            AuthResult("dkim", "fail", text, selector=text, reason=text),
            AuthResult("arc", "fail", text, reason=text),
            AuthResult("dmarc", "fail", text, policy="reject", reason=text),
        )
        hits = (
            Hit(text, 5.0, text, (text, f"“{text}” is it", f"body: …{text}…")),
            Hit("URL_DOMAIN_NEW", 1.0, "A new domain", (f"link to {text}, a domain first seen here less than a day ago",)),
            Hit("CLASSIFIER", 4.0, "An opinion", (text,)),
        )  # fmt: skip
        prediction = Prediction(0.99, "m", (Contribution("words", text, 2.0), Contribution(text, text, 1.0)))
        judged = verdict(9.0, hits=hits, auth=auth, prediction=prediction, incomplete=(text,))
        self.quarantine.hold(
            [HeldMessage(
                key[:32], key[:12], hashlib.sha256(content).hexdigest(), text, f"{text}@darban.test", "darban.test", text[:60], text,
                1.79e9, Summary(text, text, f"{text} <{text}@example.org>", len(content)), 9.0, text,
                verdict_json(judged, Disposition(recipient(), "quarantine", text, 5.0)), note=text,
            )],
            content,
        )  # fmt: skip
        return key[:32]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    web = make_web_app(folder)
    web.accounts.create("sara", PASSWORD)
    app = web.app
    canary = Canary()

    @app.get("/raw/{number}")
    def raw(number: int, guarded: bool = False) -> Response:
        """A payload as it is: with nothing around it, or under the view's policy alone."""
        answer = Response(canary.armed(PAYLOADS[number][1]), media_type="text/html; charset=utf-8")
        answer.headers.update(safe_html.HEADERS if guarded else {"Content-Security-Policy": "", "X-Test": "unsafe"})
        return answer

    @app.get("/around/{number}")
    def around(number: int) -> Response:
        return Response(f'<iframe sandbox src="/raw/{number}?guarded=yes"></iframe>', media_type="text/html")

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for_port(port)
    yield Desk(f"http://127.0.0.1:{port}", canary, web.quarantine)
    server.should_exit = True
    thread.join(10)
    canary.server.shutdown()
    web.engine.dispose()


@pytest.fixture(scope="module")
def context(browser: Browser, desk: Desk) -> Iterator[BrowserContext]:
    """Signed in."""
    made = browser.new_context(base_url=desk.url)
    page = made.new_page()
    page.goto("/sign-in")
    page.fill("input[name=name]", "sara")
    page.fill("input[name=password]", PASSWORD)
    page.click("main button")
    page.wait_for_url(f"{desk.url}/")
    page.close()
    yield made
    made.close()


@contextlib.contextmanager
def watched(context: BrowserContext, desk: Desk) -> Iterator[Page]:
    """A page on which nothing may happen but its own requests: what it did otherwise fails the test."""
    desk.canary.heard.clear()
    page, noticed = context.new_page(), []
    page.on("request", lambda asked: noticed.append(asked.url) if not asked.url.startswith(f"{desk.url}/") else None)
    page.on("console", lambda said: noticed.append(f"console: {said.text}") if "503" not in said.text else None)
    page.on("pageerror", lambda error: noticed.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (noticed.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("popup", lambda opened: noticed.append(f"popup: {opened.url}"))
    page.on("download", lambda file: noticed.append(f"download: {file.url}"))
    try:
        yield page
        assert noticed == []
        assert desk.canary.heard == []
    finally:
        page.close()


def multipart(html: bytes, content_type: str = "text/html; charset=utf-8", text: str = "seen") -> bytes:
    """Alternatives, a picture by its Content-ID, and a file, all called `text`."""
    name = text.replace("\r", "").replace("\n", "").replace("\\", "\\\\").replace('"', '\\"').encode()
    return (
        b"From: " + text.encode() + b" <a@example.org>\r\nTo: you@darban.test\r\nSubject: " + text.encode() + b"\r\n"
        b"Message-ID: <" + text.encode() + b"@x>\r\nX-Field: " + text.encode() + b"\r\nX<script>alert(1)</script>: x\r\n"
        b"ARC-Seal: i=1; d=" + text.encode().replace(b" ", b"") + b"\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text.encode() + b"\r\n"
        b"--b\r\nContent-Type: " + content_type.encode() + b"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + html + b"\r\n"
        b"--b\r\nContent-Type: image/svg+xml\r\nContent-ID: <part1@x>\r\n\r\n<svg onload=alert(1)>\r\n"
        b'--b\r\nContent-Type: application/x-' + text.encode().replace(b" ", b"") + b'; name="' + name + b'"\r\n'
        b'Content-Disposition: attachment; filename="' + name + b'.exe"\r\n\r\nMZ\0\r\n--b--\r\n'
    )  # fmt: skip


def click_all(page: Page) -> None:
    """A click on each place of the view, where an overlay would be too."""
    frame = page.frame_locator("iframe.view")
    frame.locator("body").click(position={"x": 5, "y": 5}, force=True)
    for number in range(min(frame.locator(".link, button, input, area, summary").count(), 5)):
        frame.locator(".link, button, input, area, summary").nth(number).click(force=True)


@pytest.mark.parametrize(
    "number", [number for number, one in enumerate(PAYLOADS) if one[2]], ids=lambda n: PAYLOADS[n][0]
)
def test_the_canary_hears_what_is_rendered_as_it_is(context: BrowserContext, desk: Desk, number: int) -> None:
    desk.canary.heard.clear()
    page = context.new_page()
    page.goto(f"/raw/{number}", wait_until="commit")
    deadline = time.monotonic() + 10
    while not desk.canary.heard and time.monotonic() < deadline:
        page.wait_for_timeout(20)
    page.close()
    assert desk.canary.heard


@pytest.mark.parametrize("number", range(len(PAYLOADS)), ids=lambda n: PAYLOADS[n][0])
def test_nothing_of_a_hostile_page_happens_in_the_view(context: BrowserContext, desk: Desk, number: int) -> None:
    held = desk.hold(multipart(b"<p>seen</p>" + desk.canary.armed(PAYLOADS[number][1]).encode()))
    with watched(context, desk) as page:
        page.goto(f"/held/{held}", wait_until="load")
        frame = page.frame_locator("iframe.view")
        assert frame.locator("p", has_text="seen").first.is_visible()
        assert frame.locator("body a, script, img, svg, math, [style], [href], [src]").count() == 0
        click_all(page)
        page.wait_for_timeout(60)
        assert page.url == f"{desk.url}/held/{held}"
        assert page.frames[1].url == f"{desk.url}/held/{held}/view"


@pytest.mark.parametrize("number", range(len(PAYLOADS)), ids=lambda n: PAYLOADS[n][0])
def test_the_policy_holds_without_the_rewriting(context: BrowserContext, desk: Desk, number: int) -> None:
    """What is blocked is told on the console; what may not happen is that the canary hears of it."""
    desk.canary.heard.clear()
    page = context.new_page()
    page.goto(f"/around/{number}", wait_until="load")
    page.wait_for_timeout(60)
    page.close()
    assert [line for line in desk.canary.heard if line != CONNECTED and line] == []
    assert PAYLOADS[number][0] in CONNECTS or desk.canary.heard == []


@pytest.mark.parametrize(("content_type", "html"), [one[1:] for one in CHARSETS], ids=[one[0] for one in CHARSETS])
def test_no_charset_brings_a_script_back(context: BrowserContext, desk: Desk, content_type: str, html: bytes) -> None:
    script = desk.canary.armed("#").encode("cp037" if "cp037" in content_type else "ascii")
    mark = "#".encode("cp037" if "cp037" in content_type else "ascii")
    held = desk.hold(multipart(html.replace(mark, script), desk.canary.armed(content_type)))
    with watched(context, desk) as page:
        for show in SHOWS:
            page.goto(f"/held/{held}?show={show}", wait_until="load")
        page.goto(f"/held/{held}/view", wait_until="load")
        assert page.locator("script").count() == 0


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_no_field_of_a_message_is_more_than_text(context: BrowserContext, desk: Desk, number: int) -> None:
    """One language and the other in turn: what is escaped is so in both."""
    text, language = desk.canary.armed(TEXTS[number]), ("en", "fa")[number % 2]
    held = desk.hold(multipart(f"<p title='{text}'>{text}".encode(), text=text), text)
    with watched(context, desk) as page:
        page.goto(f"/language/{language}")
        for path in (f"?show={show}" for show in SHOWS):
            page.goto(f"/held/{held}{path}", wait_until="load")
            assert (
                page.locator(
                    "main img, main iframe:not(.view), main svg:not(.weight-bar), main script:not([src])"
                ).count()
                == 0
            )
        part = page.goto(f"/held/{held}?show=parts") and page.locator("main .parts a").last.get_attribute("href")
        page.click("main details:has(textarea) summary")
        page.click("button[data-copy=ticket]")
        for path in ("/", "/?state=", f"/held/{held}/print", f"/held/{held}/view", part):
            page.goto(path, wait_until="load")
            assert page.locator("main img, body > script, body > img, main svg:not(.weight-bar)").count() == 0
        page.goto("/language/en")
