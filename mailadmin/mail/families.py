"""Which family of providers a server or a text belongs to: by its host name, or by marks that only one family makes."""

import re

# Endings of host names. The longest that fits wins, so that a part of a domain may belong to somebody else.
_HOSTS = {
    "google": "gmail.com googlemail.com google.com googleapis.com",
    "microsoft": "outlook.com office365.com hotmail.com live.com outlook.office.com office.com msn.com"
    " partner.outlook.cn office365.us microsoft.com microsoftonline.com microsoftonline.us partner.microsoftonline.cn",
    "yahoo": "yahoo.com yahoo.co.jp yahoo.co.uk yahoo.de yahoo.fr yahoo.it yahoo.es yahoo.ca yahoo.co.in ymail.com"
    " rocketmail.com yahoodns.net aol.com aol.de verizon.net att.net sbcglobal.net bellsouth.net",
    "icloud": "me.com icloud.com mac.com apple.com",
    "zoho": "zoho.com zoho.eu zoho.in zoho.com.au zoho.com.cn zoho.jp zohocloud.ca zohomail.com zohomail.eu",
    "yandex": "yandex.com yandex.ru yandex.net yandex.by yandex.kz yandex.com.tr ya.ru",
    "fastmail": "fastmail.com messagingengine.com fastmail.fm",
    "gmx": "gmx.net gmx.com gmx.de gmx.at gmx.ch web.de mail.com 1und1.de 1and1.com 1and1.co.uk 1and1.fr ionos.com"
    " ionos.de ionos.co.uk ionos.fr ionos.es ionos.it kundenserver.de perfora.net",
    "strato": "strato.de strato.com strato.nl rzone.de",
    "tonline": "t-online.de telekom.de magenta.de",
    "mailru": "mail.ru inbox.ru list.ru bk.ru internet.ru",
    "netease": "163.com 126.com yeah.net 188.com netease.com mxhichina.com qq.com foxmail.com exmail.qq.com",
    "proton": "protonmail.ch protonmail.com proton.me",
    "ovh": "ovh.net ovh.com ovh.ca kimsufi.com",
    "godaddy": "secureserver.net godaddy.com",
    "rackspace": "emailsrvr.com rackspace.com",
    "amazon": "amazonaws.com awsapps.com amazonses.com",
    "sendgrid": "sendgrid.net sendgrid.com",
    "mailgun": "mailgun.org mailgun.com",
    "orange": "orange.fr wanadoo.fr",
    "free": "free.fr",
    "laposte": "laposte.net",
    "libero": "libero.it",
    "seznam": "seznam.cz email.cz",
    "naver": "naver.com",
}
_SUFFIXES = {suffix: family for family, hosts in _HOSTS.items() for suffix in hosts.split()}

# Only what nobody else writes: a provider's name alone may as well be that of a recipient or of a sender.
_MARKS = {
    family: re.compile(pattern, re.IGNORECASE)
    for family, pattern in {
        "google": r"\bgsmtp\b|accounts\.google\.com|support\.google\.com|mail\.google\.com|googleapis\.com"
        r"|(imap|smtp|pop|smtp-relay)\.(gmail|googlemail)\.com|\bGimap\b"
        r"|GoogleJsonResponse|Google\.?Apis|google[./]auth|googleapi: ",
        "microsoft": r"(prod|outbound\.protection)\.outlook\.com|office365|outlook\.office|AADSTS\d|microsoftonline"
        r"|graph\.microsoft|aka\.ms/|go\.microsoft\.com"
        r"|(imap|smtp|pop)(-mail)?\.outlook\.com|Microsoft Exchange Server",
        "yahoo": r"\.yahoo\.com\b|yahoodns|\byahoo!|\.aol\.com\b|login\.yahoo",
        "icloud": r"\.(mail\.me|icloud)\.com\b|support\.apple\.com|\biCloud\b",
        "zoho": r"\.zoho(mail|cloud)?\.(com|eu|in|jp|ca)\b|\bzoho\b",
        "yandex": r"\byandex\b|\bya\.(ru|cc)\b",
        "fastmail": r"messagingengine|fastmail\.",
        "gmx": r"\bgmx\.(net|de|com|at|ch)\b|\bweb\.de\b|\bkundenserver\b|\bionos\b|\b1und1\b",
        "strato": r"\.strato\.(de|com)\b|\brzone\.de\b",
        "tonline": r"\bt-online\.de\b",
        "mailru": r"help\.mail\.ru|(imap|smtp|pop)\.mail\.ru",
        "netease": r"kefu@188\.com|\b(163|126|qq)\.com\b|mail\.qq|\bNetEase\b|mxhichina",
        "amazon": r"amazonaws\.com|amazonses|\bEU-WEST-\d|\bUS-EAST-\d",
        "sendgrid": r"sendgrid",
        "mailgun": r"mailgun",
        "orange": r"\bOFR\d{3}|\borange\.fr\b|\bwanadoo\b",
    }.items()
}


def family_of(host: str) -> str:
    """The family of the provider that runs the server `host`, such as google; empty where it is nobody we know."""
    labels = host.lower().rstrip(".").split(".")
    endings = (".".join(labels[start:]) for start in range(len(labels)))
    return next((_SUFFIXES[ending] for ending in endings if ending in _SUFFIXES), "")


def family_in(text: str) -> str:
    """The family whose marks stand in `text`; empty where there are none, or those of several."""
    found = [family for family, mark in _MARKS.items() if mark.search(text)]
    return found[0] if len(found) == 1 else ""
