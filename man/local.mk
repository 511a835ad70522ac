# man: the manual pages, in mdoc, one file per page, installed by their section.
# A page is listed here when it exists: dist_man_MANS += man/engram.1. The test
# t/man_lint.t finds pages by itself; what a table promises (keys, commands,
# exit codes) is held against its page by the table's own test.
dist_man_MANS += man/engram.toml.5
dist_man_MANS += man/engram.1
