# t: all tests, run by one prove: unit programs (cmocka, printing TAP) and
# black-box files (t/*.t, Perl) that boot a real server on a free port.
# A unit program is named t/unit/NAME and links its own layer and lower ones.
UNIT +=
TFILES +=
check_PROGRAMS += $(UNIT)
EXTRA_DIST += $(TFILES)

# What tests may need to find: the source tree and the built programs.
TESTENV = top_srcdir='$(abs_top_srcdir)' top_builddir='$(abs_top_builddir)' \
	CMOCKA_MESSAGE_OUTPUT=tap

check-local: $(check_PROGRAMS)
	@files=''; for f in $(UNIT); do files="$$files ./$$f"; done; \
	for f in $(TFILES); do files="$$files $(srcdir)/$$f"; done; \
	test -z "$$files" || env $(TESTENV) $(PROVE) --timer --exec '' $(PROVEFLAGS) $$files
