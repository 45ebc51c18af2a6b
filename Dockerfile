# The image of `maestro`: the gateway, the simulator and every other command. Engines run beside it, not in it.
#
#   docker build -t maestro:0.1.0 .
#   docker run --rm -p 8080:8080 -v "$PWD/maestro.yaml:/etc/maestro/maestro.yaml:ro" maestro:0.1.0 up --host 0.0.0.0 --fleet /etc/maestro/maestro.yaml
#
# --build-arg OMIT=dev adds the native packages that only a sentence embedder and a second opinion on models need.
FROM node:20-bookworm-slim AS build
WORKDIR /opt/maestro
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-progress
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY sim sim
COPY traces traces
RUN npm run build
ARG OMIT="dev optional"
RUN for kind in $OMIT; do omit="$omit --omit=$kind"; done; npm ci --no-progress $omit

FROM node:20-bookworm-slim
# tini is process 1: it passes signals on and reaps what processes of engines leave behind.
RUN apt-get update && apt-get install --yes --no-install-recommends tini && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/maestro
COPY --from=build /opt/maestro/node_modules node_modules
COPY --from=build /opt/maestro/dist dist
COPY package.json LICENSE ./
COPY models models
COPY traces/data traces/data
COPY deploy/demo-fleet.yaml deploy/
RUN ln -s /opt/maestro/dist/src/cli/main.js /usr/local/bin/maestro && chmod +x dist/src/cli/main.js \
  && mkdir -p /var/lib/maestro && chown node:node /var/lib/maestro
ENV NODE_ENV=production
# What is saved (fleet.stateDir, prediction.stateFile) belongs on a volume here.
VOLUME /var/lib/maestro
WORKDIR /var/lib/maestro
USER node
EXPOSE 8080
ENTRYPOINT ["tini", "--", "maestro"]
CMD ["--help"]
