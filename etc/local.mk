# etc: this folder's part of the Makefile.
# The commented default file and examples, installed as documents. The default
# also goes to /etc/engram when there is none yet (Makefile.am, INSTALL_CONF); what
# is there belongs to the operator, and an empty one is a good configuration.
dist_doc_DATA = etc/engram.toml
exampledir = $(docdir)/examples
dist_example_DATA = etc/examples/read-heavy.toml etc/examples/write-heavy.toml \
	etc/examples/ssd.toml etc/examples/hdd.toml
