import { openWith } from './agents.mjs'

/** In its default mode. */
export const open = (baseURL) => openWith(baseURL)
