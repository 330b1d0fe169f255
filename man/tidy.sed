# SPDX-License-Identifier: LGPL-2.1-or-later
# What rst2man writes, put right for man pages: tbl is to be run, and lines in the narrow cells of a
# table are left as they come; a heading is no place for a paragraph break; C is no font that
# every reader of man pages has.
1i\
'\\" t
/^\.ft [CP]$/d
/^\.TS$/i\
.na
/^\.TE$/a\
.ad
/^\.S[HS] /{
:heading
n
/^\.S[HS] /b heading
/^\.sp$/d
}
