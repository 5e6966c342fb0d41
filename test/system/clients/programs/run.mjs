/** Runs one client: `node run.mjs NAME BASE_URL`. Every message names a step, and is answered. */
const [, , name, baseURL] = process.argv
const client = await (await import(`./${name}.mjs`)).open(baseURL)

process.on('message', async ({ id, step, input }) => {
  try {
    process.send({ id, output: await client[step](input) })
  } catch (error) {
    // What its users would look at, by whatever name the client has it.
    const { message, name: kind, status, statusCode, response, cause } = error
    const seen = status ?? statusCode ?? response?.status ?? response?.statusCode ?? cause?.status
    process.send({ id, error: { kind, message, status: seen } })
  }
})
process.on('disconnect', () => process.exit())
process.send({ steps: Object.keys(client) })
