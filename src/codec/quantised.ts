/** Names quantised checkpoints, whose tensors are codes and not values: nothing of them can be subtracted. */

interface Scheme {
  readonly name: string;
  /** End of the name of a tensor that only this scheme has. */
  readonly suffix: RegExp;
  /** The tensor's sibling must be stored in one of these dtypes: the suffix alone would be too common. */
  readonly weight?: ReadonlySet<string>;
}

const CODES: ReadonlySet<string> = new Set(['I8', 'U8', 'F8_E4M3', 'F8_E5M2', 'I32']);

const SCHEMES: readonly Scheme[] = [
  { name: 'bitsandbytes, 4 bits', suffix: /\.weight\.(absmax|quant_map|nested_absmax|quant_state\..+)$/ },
  { name: 'bitsandbytes, 8 bits', suffix: /\.(SCB|weight_format)$/ },
  { name: 'GPTQ or AWQ', suffix: /\.(qweight|qzeros)$/ },
  { name: 'compressed-tensors', suffix: /\.weight_packed$/ },
  {
    name: '8-bit weights with scales of their own',
    suffix: /\.weight_(scale|scale_inv|zero_point)$/,
    weight: CODES,
  },
];

export interface Quantisation {
  readonly scheme: string;
  /** The first tensor that shows it. */
  readonly tensor: string;
}

/** The scheme that the tensors of a checkpoint show, if any. */
export function quantisationOf(
  tensors: ReadonlyMap<string, { readonly name: string; readonly dtype: string }>,
): Quantisation | undefined {
  for (const name of tensors.keys()) {
    for (const { name: scheme, suffix, weight } of SCHEMES) {
      if (!suffix.test(name)) continue;
      const sibling = tensors.get(name.replace(suffix, '.weight'));
      if (weight === undefined || (sibling !== undefined && weight.has(sibling.dtype))) return { scheme, tensor: name };
    }
  }
  return undefined;
}
