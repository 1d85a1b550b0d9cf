"""Lists that ship: free-mail providers, link shorteners, wrappers of links, alias relays. Not a check.

`[identity]` adds to the first two.
"""

from __future__ import annotations

FREEMAIL = frozenset(
    "gmail.com googlemail.com yahoo.com ymail.com yahoo.co.uk yahoo.fr yahoo.de outlook.com hotmail.com "
    "live.com msn.com aol.com icloud.com me.com mail.com gmx.com gmx.de gmx.net web.de proton.me "
    "protonmail.com zoho.com yandex.com yandex.ru mail.ru inbox.ru list.ru bk.ru rambler.ru qq.com 163.com "
    "126.com sina.com tutanota.com fastmail.com hotmail.co.uk hotmail.fr laposte.net orange.fr free.fr "
    "libero.it t-online.de naver.com daum.net rediffmail.com chmail.ir mailfa.com vatanmail.ir".split()
)
SHORTENERS = frozenset(
    "bit.ly bitly.com tinyurl.com t.co goo.gl ow.ly is.gd buff.ly cutt.ly rb.gy rebrand.ly shorturl.at tiny.cc "
    "t.ly bl.ink lnkd.in soo.gd s.id v.gd adf.ly shorte.st yun.ir b2n.ir zaya.io plink.ir opizo.com yek.link "
    "2ad.ir".split()
)
# What looks at links before it opens them, and so stands before their goals in forwarded mail
WRAPPERS = frozenset(
    "proofpoint.com urldefense.com urldefense.us outlook.com office365.us mimecast.com mimecastprotect.com cudasvc.com "
    "trendmicro.com symantec.com deref-web.de deref-gmx.net deref-mail.com fireeye.com barracudanetworks.com "
    "sophos.com avanan.click cloud-protect.net".split()
)
# Services that hide their users' addresses: they put the sender's address into the name, and an alias behind it
ALIAS_RELAYS = frozenset(
    "mozmail.com simplelogin.co simplelogin.com aleeas.com slmails.com passmail.net passinbox.com passfwd.com "
    "anonaddy.com anonaddy.me addy.io duck.com privaterelay.appleid.com sneakemail.com spamgourmet.com 33mail.com "
    "erine.email".split()
)
# Domains that stand in everybody's mail, honest or not: no DNS list is asked about them, and none lists them for long
COMMON = frozenset(
    "google.com gstatic.com googleapis.com googleusercontent.com goo.gl youtube.com youtu.be gmail.com apple.com "
    "icloud.com microsoft.com microsoftonline.com office.com office365.com outlook.com live.com hotmail.com "
    "windows.net linkedin.com licdn.com facebook.com fb.com fbcdn.net instagram.com whatsapp.com twitter.com "
    "x.com t.co twimg.com amazon.com amazonaws.com cloudfront.net yahoo.com github.com githubusercontent.com "
    "w3.org mozilla.org wikipedia.org wikimedia.org debian.org kernel.org python.org apache.org paypal.com "
    "adobe.com zoom.us cloudflare.com akamaihd.net mailchimp.com list-manage.com sendgrid.net telegram.org t.me "
    "aparat.com digikala.com divar.ir irancell.ir mci.ir shaparak.ir".split()
)
