/** Hugging Face's names of Gemma 3's tensors, as GGUF has them. */

const OUTER: Readonly<Record<string, string>> = {
  'embed_tokens.weight': 'token_embd.weight',
  'norm.weight': 'output_norm.weight',
};

const IN_LAYER: Readonly<Record<string, string>> = {
  input_layernorm: 'attn_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.q_norm': 'attn_q_norm',
  'self_attn.k_norm': 'attn_k_norm',
  'self_attn.o_proj': 'attn_output',
  post_attention_layernorm: 'post_attention_norm',
  pre_feedforward_layernorm: 'ffn_norm',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
  post_feedforward_layernorm: 'post_ffw_norm',
};

/** Text models have the last; multimodal ones the second, since transformers 4.52 the first. */
const TEXT = /^(?:model\.language_model|language_model\.model|model)\.(.+)$/;
const HEAD = /^(?:language_model\.)?lm_head\.weight$/;
const LAYER = /^layers\.(0|[1-9]\d{0,3})\.(.+)\.weight$/;
const VISION = /^(?:model\.)?(?:vision_tower|multi_modal_projector)\./;

/** GGUF's name of a text tensor, 'vision' for one of the image tower, or null for one that no Gemma 3 has. */
export function ggufTensorName(name: string): string | null {
  if (VISION.test(name)) return 'vision';
  if (HEAD.test(name)) return 'output.weight';
  const inner = TEXT.exec(name)?.[1];
  if (inner === undefined) return null;
  if (Object.hasOwn(OUTER, inner)) return OUTER[inner]!;
  const [, layer, part] = LAYER.exec(inner) ?? [];
  if (layer === undefined || part === undefined || !Object.hasOwn(IN_LAYER, part)) return null;
  return `blk.${layer}.${IN_LAYER[part]}.weight`;
}
