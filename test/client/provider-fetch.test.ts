import { expect, test } from 'vitest'
import { providerFetch } from '../../src/client/provider-fetch.ts'

test.each(['not a certificate', ''])(
  'a CA %j is none: nobody is asked, and it is told',
  async (text) => {
    const fetch = providerFetch({ caDer: Buffer.from(text), proxyFor: () => undefined })
    await expect(fetch('https://127.0.0.1:9/keys', {})).rejects.toMatchObject({
      code: 'MCM_PROVIDER_UNREACHABLE',
      message: expect.stringContaining('the identity provider 127.0.0.1:9 cannot be asked: '),
      cause: { code: expect.stringMatching(/^ERR_OSSL_/) },
    })
  },
)
