// empty_lists.cpp: stands in for the implementation lists of the primitives and data types that Drover never asks
// oneDNN for. C++ because it is part of oneDNN. The real lists include every convolution, pooling, ... header, and the
// reorder tables instantiate hundreds of templates, only to end up empty or unused in our configuration. A primitive
// asked for in vain reports dnnl_unimplemented, as with any primitive that is left out.
#include "common/impl_list_item.hpp"
#include "cpu/cpu_engine.hpp"
#include "cpu/reorder/cpu_reorder.hpp"

namespace dnnl {
namespace impl {
namespace cpu {

namespace {
const impl_list_item_t none[] = {nullptr};
const impl_list_map_t no_reorders;
}  // namespace

#define EMPTY_LIST(kind) \
  const impl_list_item_t *get_##kind##_impl_list(const kind##_desc_t *) { return none; }
DROVER_EMPTY_LISTS
#undef EMPTY_LIST

#define EMPTY_REORDERS(types) \
  const impl_list_map_t &types##_impl_list_map() { return no_reorders; }
DROVER_EMPTY_REORDERS
#undef EMPTY_REORDERS

const impl_list_item_t *cpu_engine_impl_list_t::get_concat_implementation_list() { return none; }
const impl_list_item_t *cpu_engine_impl_list_t::get_sum_implementation_list() { return none; }

}  // namespace cpu
}  // namespace impl
}  // namespace dnnl
