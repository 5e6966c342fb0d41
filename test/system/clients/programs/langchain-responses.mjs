import { openWith } from './langchain.mjs'

export const open = (baseURL) => openWith(baseURL, { useResponsesApi: true })
