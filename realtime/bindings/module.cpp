// The Python module `_hot`: each file here binds one noun.
#include <nanobind/nanobind.h>

namespace nb = nanobind;

void bind_controller(nb::module_ &);
void bind_decoder(nb::module_ &);
void bind_erasure(nb::module_ &);
void bind_host(nb::module_ &);
void bind_link(nb::module_ &);
void bind_lookup(nb::module_ &);
void bind_model(nb::module_ &);
void bind_parallel(nb::module_ &);
void bind_relay(nb::module_ &);
void bind_union_find(nb::module_ &);
void bind_window(nb::module_ &);

NB_MODULE(_hot, m) {
    m.doc() = "The hot path of quarterdeck-realtime.";
    bind_model(m);
    bind_decoder(m);  // Compiled, the base of the others
    bind_erasure(m);
    bind_lookup(m);
    bind_parallel(m);
    bind_relay(m);
    bind_union_find(m);
    bind_window(m);
    bind_link(m);
    bind_host(m);
    bind_controller(m);
}
