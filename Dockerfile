# The agent's image for those who have a container engine; `npm run image` makes the same without one.
FROM node:24-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci
COPY . .
RUN node scripts/image.ts --out /out/image.tar \
 && mkdir /image && tar -xf /out/image.tar -C /image \
 && mkdir /rootfs \
 && node -e "for (const layer of JSON.parse(require('fs').readFileSync('/image/manifest.json'))[0].Layers) \
      require('child_process').execFileSync('tar', ['-xzf', '/image/' + layer, '-C', '/rootfs'])"

FROM scratch
COPY --from=build /rootfs/ /
USER 65532:65532
WORKDIR /app
ENV PATH=/usr/local/bin NODE_ENV=production
ENTRYPOINT ["/usr/local/bin/node", "/app/agent.js"]
