"""torch's operators on tensors, by what they do, as names without namespace and overload.

torch itself is not imported; tests compare what stands here with torch's schemas and tags.
"""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Operators that draw random numbers: torch tags them `nondeterministic_seeded`. Operators that draw only in training,
# such as dropout, are not among them: their arguments say whether they draw.
RANDOM = _names(
    "_fused_dropout _nested_tensor_softmax_with_shape _sample_dirichlet _standard_gamma bernoulli bernoulli_ "
    "binomial cauchy cauchy_ exponential exponential_ geometric geometric_ inductor_rand_eager_offset "
    "inductor_rand_eager_offsets inductor_randint inductor_random inductor_seed inductor_seeds log_normal "
    "log_normal_ multinomial normal normal_ normal_functional poisson rand rand_like randint randint_like randn "
    "randn_like random random_ randperm uniform uniform_"
)

# Operators that may return the memory of their first tensors: torch's schemas say so of most of them.
VIEWS = _names(
    "_autocast_to_full_precision _autocast_to_reduced_precision _conj _fw_primal _indices _make_dual _neg_view "
    "_nested_get_values _nested_view_from_buffer _nested_view_from_jagged _reshape_alias _sparse_broadcast_to "
    "_test_autograd_multiple_dispatch_view _unpack_dual _values adjoint alias as_strided broadcast_in_dim "
    "broadcast_to ccol_indices chunk coalesce col_indices collapse_view conj contiguous crow_indices detach diagonal "
    "dsplit expand expand_as flatten hsplit imag indices lift_fresh linalg_diagonal mH mT matrix_H moveaxis movedim "
    "narrow numpy_T permute pin_memory positive ravel real reshape reshape_as resolve_conj resolve_neg row_indices "
    "select slice slice_inverse split split_dim split_with_sizes squeeze swapaxes swapdims t tensor_split to "
    "transpose unbind unflatten unfold unsqueeze values view view_as view_as_complex view_as_real view_of "
    "view_of_dtype vsplit "
    "_unsafe_view alpha_dropout atleast_1d atleast_2d atleast_3d broadcast_tensors dropout feature_alpha_dropout "
    "feature_dropout lift meshgrid type_as unsafe_chunk unsafe_split unsafe_split_with_sizes"
)

# Views that return all of their tensor's memory, whatever its strides are.
WHOLE_VIEWS = _names("alias detach mT movedim numpy_T permute squeeze swapaxes t transpose unflatten unsqueeze view")

# Operators that return memory which nothing has written.
UNWRITTEN = _names(
    "empty empty_like empty_permuted empty_quantized empty_strided new_empty new_empty_strided "
    "_empty_affine_quantized _empty_per_channel_affine_quantized"
)

# Operators in place that write their whole tensor, and read nothing of it.
OVERWRITE = _names("bernoulli_ cauchy_ copy_ exponential_ fill_ geometric_ log_normal_ normal_ random_ uniform_ zero_")

# Operators in place that write a part of their tensor, mostly one that depends on values, and read nothing of it.
OVERWRITE_IN_PART = _names("fill_diagonal_ index_copy_ index_fill_ index_put_ masked_fill_ masked_scatter_ scatter_")

# Operators whose result may be larger than their tensor; nothing has written the memory that is added.
GROW = _names("resize resize_ resize_as_")

# Overloads that write their results to arguments, beside those whose names contain `out`; and these arguments.
OUT_OVERLOADS = _names(
    "L Q U X a dim_max dim_min dim_values eigenvalues eigvals grad_input inverse output result sign values "
    "values_stable"
)
OUT_ARGUMENTS = _names(
    "L LD LU M P Q R S U V Vh X a bin_edges buffer eigenvalues eigenvectors eigvals eigvecs exponent grad_bias "
    "grad_input grad_weight hist indices info inverse is_target logabsdet mantissa max max_values min min_indices out "
    "out0 out1 out2 out3 out4 out5 out6 output pivots rank reserve residuals result save_invstd save_mean sign "
    "singular_values solution tau total_weight values"
)

# Operators that compute element by element. torch tags most of them `pointwise`; the others are aliases, and copies.
ELEMENTWISE = _names(
    "__and__ __iand__ __ilshift__ __ior__ __irshift__ __ixor__ __lshift__ __or__ __rshift__ __xor__ _conj_physical "
    "abs absolute acos acosh add addcdiv addcmul angle arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh "
    "atan atan2 atanh bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor ceil celu "
    "clamp clamp_max clamp_min clip conj_physical copy copysign cos cosh deg2rad digamma div divide elu eq erf erfc "
    "erfinv exp exp2 expm1 fill fix float_power floor floor_divide fmax fmin fmod frac frexp gcd ge gelu greater "
    "greater_equal gt hardshrink hardsigmoid hardswish hardtanh heaviside hypot i0 igamma igammac isclose isfinite "
    "isinf isnan isneginf isposinf isreal lcm ldexp le leaky_relu lerp less less_equal lgamma log log10 log1p log2 "
    "log_sigmoid logaddexp logaddexp2 logical_and logical_not logical_or logical_xor logit lt masked_fill maximum "
    "minimum mish mul multiply mvlgamma nan_to_num ne neg negative nextafter not_equal polygamma positive pow rad2deg "
    "reciprocal relu relu6 remainder round rsqrt rsub selu sgn sigmoid sign signbit silu sin sinc sinh softplus "
    "softshrink special_airy_ai special_bessel_j0 special_bessel_j1 special_bessel_y0 special_bessel_y1 special_entr "
    "special_erf special_erfc special_erfcx special_erfinv special_exp2 special_expit special_expm1 special_i0 "
    "special_i0e special_i1 special_i1e special_log1p special_log_ndtr special_logit special_ndtr special_ndtri "
    "special_round special_sinc special_xlog1py special_xlogy special_zeta sqrt square sub subtract tan tanh threshold "
    "true_divide trunc xlogy zero"
)

# Operators that compute element by element of their first tensor. Other tensors give only a type or a shape.
COPIES = _names(
    "_to_copy alias clone conj contiguous detach dropout feature_dropout alpha_dropout feature_alpha_dropout "
    "full_like imag lift lift_fresh lift_fresh_copy native_dropout ones_like positive real resolve_conj resolve_neg "
    "to type_as zeros_like empty_like rrelu requires_grad"
)

# The arguments that an operator writes to, where its name has no underscore at the end, or it writes to other arguments
# than its first.
WRITES = {
    "_amp_foreach_non_finite_check_and_unscale_": ("self", "found_inf"),
    "_amp_update_scale_": ("self", "growth_tracker"),
    "_batch_norm_with_update": ("running_mean", "running_var"),
    "_cummax_helper": ("values", "indices"),
    "_cummin_helper": ("values", "indices"),
    "_flash_attention_forward_no_dropout_inplace": ("out",),
    "_fused_adagrad_": ("self", "grads", "state_sums", "state_steps"),
    "_fused_adam_": ("self", "grads", "exp_avgs", "exp_avg_sqs", "max_exp_avg_sqs"),
    "_fused_adamw_": ("self", "grads", "exp_avgs", "exp_avg_sqs", "max_exp_avg_sqs"),
    "_fused_moving_avg_obs_fq_helper": ("running_min", "running_max", "scale", "zero_point"),
    "_fused_sgd_": ("self", "grads", "momentum_buffer_list"),
    "_native_batch_norm_legit": ("running_mean", "running_var"),
    "copy_to": ("a",),
    "fused_moving_avg_obs_fake_quant": ("running_min", "running_max", "scale", "zero_point"),
    "resize": ("a",),
    "rrelu_with_noise": ("noise",),
    "rrelu_with_noise_": ("self", "noise"),
    "set_data": ("self",),
}
