#include "master/build.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <jansson.h>
#include <microhttpd.h>
#include <numa.h>
#include <protobuf-c/protobuf-c.h>
#include <unistring/version.h>
#include <zstd.h>

#include "config.h"

/* Libraries that can tell the version that is loaded; the others have none. */
#define BUILD_LIBRARIES(X) \
	X("libevent", event_get_version()) \
	X("libmicrohttpd", MHD_get_version()) \
	X("libprotobuf-c", protobuf_c_version()) \
	X("libzstd", ZSTD_versionString()) \
	X("jansson", jansson_version_str()) \
	X("libcurl", curl_version_info(CURLVERSION_NOW)->version)

void build_print(FILE *out)
{
	fprintf(out, "engram-server %s\n", PACKAGE_VERSION);
}

void build_print_all(FILE *out)
{
	build_print(out);
#define X(name, version) fprintf(out, "%s %s\n", name, version);
	BUILD_LIBRARIES(X)
#undef X
	fprintf(out, "libunistring %d.%d.%d\n", _libunistring_version >> 16, _libunistring_version >> 8 & 255,
	        _libunistring_version & 255);
	fprintf(out, "libnuma API %d\n", LIBNUMA_API_VERSION);
	fprintf(out, "compiler %s\n", __VERSION__);
	fprintf(out, "flags %s\n", EG_BUILD_FLAGS);
}
