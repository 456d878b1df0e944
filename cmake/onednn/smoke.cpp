// smoke.cpp: does the oneDNN just built multiply matrices, on a thread pool of the caller? C++ because the interface
// of the pool is. Prints the implementation; exits with 1 when a result is wrong.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "oneapi/dnnl/dnnl.hpp"
#include "oneapi/dnnl/dnnl_threadpool.hpp"
#include "oneapi/dnnl/dnnl_threadpool_iface.hpp"

namespace {

// One thread, the caller's; newer versions of the interface also want wait().
struct caller_pool : dnnl::threadpool_interop::threadpool_iface {
  int get_num_threads() const { return 1; }
  bool get_in_parallel() const { return true; }
  void parallel_for(int n, const std::function<void(int, int)> &body) {
    for (int i = 0; i < n; i++) body(i, n);
  }
  uint64_t get_flags() const { return 0; }
  void wait() {}
};

// y = relu(x w + b) for rows x columns outputs of `depth` products each, against a plain loop.
bool matmul_is_right(dnnl::engine &engine, dnnl::stream &stream, int rows, int depth, int columns) {
  using namespace dnnl;
  std::vector<float> x(rows * depth), w(depth * columns), b(columns), y(rows * columns);
  for (std::vector<float> *v : {&x, &w, &b})
    for (float &value : *v) value = (std::rand() % 2001 - 1000) / 1000.0F;

  const memory::data_type f32 = memory::data_type::f32;
  const memory::desc x_md({rows, depth}, f32, memory::format_tag::ab);
  const memory::desc w_md({depth, columns}, f32, memory::format_tag::ab);
  const memory::desc any_md({depth, columns}, f32, memory::format_tag::any);
  const memory::desc b_md({1, columns}, f32, memory::format_tag::ab);
  const memory::desc y_md({rows, columns}, f32, memory::format_tag::ab);
  post_ops relu;
  relu.append_eltwise(algorithm::eltwise_relu, 0, 0);
  primitive_attr attributes;
  attributes.set_post_ops(relu);
  const matmul::primitive_desc product(engine, x_md, any_md, b_md, y_md, attributes);

  memory given(w_md, engine, w.data()), wanted(product.weights_desc(), engine);
  reorder(given, wanted).execute(stream, given, wanted);
  matmul(product).execute(stream, {{DNNL_ARG_SRC, memory(x_md, engine, x.data())},
                                   {DNNL_ARG_WEIGHTS, wanted},
                                   {DNNL_ARG_BIAS, memory(b_md, engine, b.data())},
                                   {DNNL_ARG_DST, memory(y_md, engine, y.data())}});
  stream.wait();

  for (int i = 0; i < rows; i++) {
    for (int j = 0; j < columns; j++) {
      double sum = b[j];
      for (int k = 0; k < depth; k++) sum += (double)x[i * depth + k] * w[k * columns + j];
      if (!(std::fabs(y[i * columns + j] - (sum > 0 ? sum : 0)) < 1e-4)) {
        std::printf("%dx%dx%d: row %d, column %d is wrong\n", rows, depth, columns, i, j);
        return false;
      }
    }
  }
  std::printf("%dx%dx%d: right, %s\n", rows, depth, columns, product.impl_info_str());
  return true;
}

}  // namespace

int main() {
  try {
    caller_pool pool;
    dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    dnnl::stream stream = dnnl::threadpool_interop::make_stream(engine, &pool);
    bool right = true;
    for (int rows : {1, 4, 16, 65})
      right = matmul_is_right(engine, stream, rows, 37, 19) && matmul_is_right(engine, stream, rows, 128, 64) && right;
    return right ? 0 : 1;
  } catch (const dnnl::error &problem) {
    std::printf("%s\n", problem.what());
    return 1;
  }
}
