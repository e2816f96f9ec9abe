"""What a page holds, with its packed parts unpacked."""

import re

from bimix_sweep.report.packing import unpack

PACKED = re.compile(r'<script[^>]*(?:data-into="|-figure")[^>]*>(.*?)</script>', re.DOTALL)


def page_text(html):
    """The HTML of a page, followed by the tables and figures that are packed in it."""
    return "\n".join([html, *map(unpack, PACKED.findall(html))])
