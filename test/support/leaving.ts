/** With what a caller aborts. */
export const left = () => new Error('the caller has left')
