/** Error codes of our requests, in the range JSON-RPC leaves to applications, and which a person sees. */
export const ErrorCode = {
  /** The model file is missing, damaged or not Gemma 3. */
  Model: -31001,
  /** The question and its files do not fit the context; data is OverLong, with what could be dropped. */
  ContextFull: -31002,
  /** Not enough memory for the model or the chosen context. */
  Memory: -31003,
  /** The workspace cannot be read. */
  Workspace: -31004,
  /** The model has no image tower, or the projector file does not belong to it. */
  NoImageTower: -31005,
  /** The image cannot be decoded, or is too large. */
  Image: -31006,
  /** An image of the conversation is no longer at hand: attach it again. */
  ImageUnknown: -31007,
  /** A fault of ours. */
  Internal: -31099,
} as const;
export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode];

/** Codes whose message is a sentence written for a person; the others are logged and shown as a general failure. */
export const SHOWN_TO_PERSON: ReadonlySet<number> = new Set<number>([
  ErrorCode.Model,
  ErrorCode.ContextFull,
  ErrorCode.Memory,
  ErrorCode.Workspace,
  ErrorCode.NoImageTower,
  ErrorCode.Image,
  ErrorCode.ImageUnknown,
]);
