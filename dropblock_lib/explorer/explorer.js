// The mask explorer. One module for notebooks (anywidget calls `render`) and for
// pages without a kernel (`mount`). Arrays are flat: mask or channel, row, column.

// === The numbers: the same as in noise.py, masks.py and pictures.py ===

const { abs, floor, max, min } = Math;
const total = (units) => units.reduce((sum, unit) => sum + unit, 0);

export function mix(x) {
	x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
	x = Math.imul(x ^ (x >>> 15), 0xd35a2d97);
	return (x ^ (x >>> 15)) >>> 0;
}

const fold = (x, value) => mix((x + value + 0x9e3779b9) | 0);

// The last noise, which three methods and most changes of a slider share.
let last = {};

export function noise(seed, masks, height, width) {
	const key = [seed, masks, height, width].join();
	if (last.key === key) return last.field;
	const field = new Float64Array(masks * height * width);
	const start = fold(0, seed);
	let at = 0;
	for (let mask = 0; mask < masks; mask++) {
		const ofMask = fold(start, mask);
		for (let row = 0; row < height; row++) {
			const ofRow = fold(ofMask, row);
			for (let column = 0; column < width; column++)
				field[at++] = fold(ofRow, column) / 2 ** 32;
		}
	}
	last = { key, field };
	return field;
}

export function gamma(keepProb, [kh, kw], [height, width]) {
	const places = (height - kh + 1) * (width - kw + 1);
	return ((1 - keepProb) / (kh * kw)) * (height * width) / places;
}

const clip = (x, low, high) => min(max(x, low), high);

// The number of seed places that would drop each unit, along one axis.
const covers = (block, side) =>
	Array.from(
		{ length: side },
		(_, i) => min(i, side - block) - max(i - block + 1, 0) + 1,
	);

// The mean, over all units, of a function of the number of places that would drop it.
function coverMean([kh, kw], [height, width]) {
	const shares = new Map();
	for (const down of covers(kh, height))
		for (const across of covers(kw, width)) {
			const count = down * across;
			shares.set(count, (shares.get(count) ?? 0) + 1 / (height * width));
		}
	return (of) =>
		[...shares].reduce((sum, [count, share]) => sum + share * of(count), 0);
}

export function expectedDropRate(gamma, block, size) {
	const log = Math.log1p(-gamma);
	return -coverMean(block, size)((count) => Math.expm1(count * log));
}

export function exactGamma(keepProb, block, size) {
	const mean = coverMean(block, size);
	let lam = 0;
	for (let round = 0; round < 50; round++) {
		const survival = (count) => Math.exp(-lam * (count - 1));
		const logMean = Math.log1p(mean((c) => Math.expm1(-lam * (c - 1)))) - lam;
		const step =
			((logMean - Math.log(keepProb)) * mean(survival)) /
			mean((c) => c * survival(c));
		lam += step;
		if (step <= 1e-15 * lam) break;
	}
	return -Math.expm1(-lam);
}

export function blockOf({ method, block_size, height, width }) {
	if (method === "dropout") return [1, 1];
	if (method === "spatial") return [height, width];
	return [min(block_size, height), min(block_size, width)];
}

// Everything computed from the state, except the feature map.
export function explore(state) {
	const { height, width, channels, keep_prob: keepProb } = state;
	const block = blockOf(state);
	const [kh, kw] = block;
	const [top, left] = [kh >> 1, kw >> 1];
	// Every box is [row, column, height, width].
	const valid = [top, left, height - kh + 1, width - kw + 1];
	const rule = state.gamma === "exact" ? exactGamma : gamma;
	const probability = rule(keepProb, block, [height, width]);
	const masks = state.per_channel ? channels : 1;
	const field = noise(state.seed, masks, height, width);
	const seeds = new Uint8Array(field.length);
	const keep = new Uint8Array(field.length).fill(1);
	for (let mask = 0; mask < masks; mask++)
		for (let row = top; row < top + valid[2]; row++)
			for (let column = left; column < left + valid[3]; column++) {
				const at = (mask * height + row) * width + column;
				if (field[at] >= probability) continue;
				seeds[at] = 1;
				const corner = at - top * width - left;
				for (let i = 0; i < kh; i++)
					keep.fill(0, corner + i * width, corner + i * width + kw);
			}
	const kept = total(keep);
	return {
		block, valid, masks, noise: field, seeds, keep, kept,
		gamma: probability,
		nominal: 1 - keepProb,
		expected: expectedDropRate(probability, block, [height, width]),
		realized: 1 - kept / keep.length,
		scale: state.method === "dropblock" ? keep.length / max(kept, 1) : 1 / keepProb,
	};
}

const isOn = ([top, left, height, width], row, column) =>
	row >= top && row < top + height && column >= left && column < left + width;

export function featureMap(picture, height, width, channels) {
	const rows = picture.rows.map((row) =>
		[...row].map((digit) => parseInt(digit, 36) * picture.unit),
	);
	const look = (v, u) => {
		const y = clip(v * rows.length - 0.5, 0, rows.length - 1);
		const x = clip(u * rows[0].length - 0.5, 0, rows[0].length - 1);
		const upper = rows[floor(y)];
		const lower = rows[min(floor(y) + 1, rows.length - 1)];
		const left = floor(x);
		const right = min(left + 1, upper.length - 1);
		const across = (row) => row[left] * (1 - x + left) + row[right] * (x - left);
		return across(upper) * (1 - y + floor(y)) + across(lower) * (y - floor(y));
	};
	const values = new Float64Array(channels * height * width);
	let at = 0;
	for (let channel = 0; channel < channels; channel++) {
		const angle = (2 * Math.PI * (channel - 1)) / 7;
		const dv = 0.06 * Math.sin(angle);
		const du = 0.06 * Math.cos(angle);
		for (let row = 0; row < height; row++)
			for (let column = 0; column < width; column++) {
				const v = (row + 0.5) / height;
				const u = (column + 0.5) / width;
				values[at++] =
					channel && picture.edges
						? max(look(v + dv, u + du) - look(v - dv, u - du), 0)
						: look(v, u);
			}
	}
	return values;
}

// === Addresses such as #explorer=photo&keep_prob=0.7 ===

const RANGES = {
	keep_prob: [0.05, 1, 0.01], block_size: [1, 64], height: [1, 64], width: [1, 64],
	channels: [1, 16], seed: [0, 2 ** 32 - 1], channel: [0, 15],
};

// The changes that an address requests. Misspelled parts are ignored.
export function readLink(hash, presets, start, texts) {
	const asked = new URLSearchParams(hash.slice(1));
	const base = asked.get("explorer");
	if (base === null) return;
	const changes = { ...(base === "start" ? start : presets[base]?.state) };
	for (const [name, text] of asked) {
		if (!Object.hasOwn(start, name)) continue;
		if (name in RANGES) {
			const [low, high, step = 1] = RANGES[name];
			const value = Math.round(text / step) * step;
			if (text.trim() && !isNaN(value)) changes[name] = +clip(value, low, high).toFixed(2);
		} else if (typeof start[name] === "boolean") {
			if (/^(true|false)$/i.test(text)) changes[name] = /^t/i.test(text);
		} else if (Object.hasOwn(texts[name], text)) changes[name] = text;
	}
	return changes;
}

export function writeLink(state, start) {
	const asked = new URLSearchParams({ explorer: "start" });
	for (const name in start) if (state[name] !== start[name]) asked.set(name, state[name]);
	return `#${asked}`;
}

// === Elements ===

const short = (x) => String(Number(x.toPrecision(3)));

function print(name, result) {
	const x = result[name];
	if (name === "gamma") {
		if (!x) return "0";
		return x < 0.001 ? x.toExponential(3) : x.toPrecision(4);
	}
	if (name !== "scale") return `${(100 * x).toFixed(2)}%`;
	return result.kept ? `×${x.toPrecision(x < 10 ? 4 : 5)}` : "–";
}

const say = (text, values) => text.replace(/{(\w+)}/g, (_, name) => values[name]);

// "p.cell" is a paragraph of the class mask-explorer-cell.
function make(kind, attributes = {}, ...children) {
	const [tag, name] = kind.split(".");
	const element = document.createElement(tag);
	if (name) element.className = `mask-explorer-${name}`;
	for (const [key, value] of Object.entries(attributes))
		if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
		else element.setAttribute(key, value);
	element.append(...children.filter(Boolean));
	return element;
}

let views = 0;

// `share`, on pages only, puts the state into the address.
function view(root, model, share) {
	const id = `mask-explorer-${++views}`;
	const texts = model.get("_texts");
	const names = Object.keys(model.get("_tries")[0].state);
	const given = model.get("_values");
	const updates = [];
	let panels = [];
	let state, result, values, white, low, colors, drawnFor, cell, spoken, timer, pending;

	const set = (changes) => {
		for (const name in changes) model.set(name, changes[name]);
		model.save_changes();
	};
	const hasBlocks = () => state.compare || state.method === "dropblock";

	// Each control sets the state, and follows changes made elsewhere.
	function control(tag, name, attributes, isUsed = () => true) {
		const { type } = attributes;
		const key = type === "checkbox" ? "checked" : "value";
		const input = make(tag, {
			"data-control": name, ...attributes,
			oninput: () => set({ [name]: type === "range" ? +input.value : input[key] }),
		});
		updates.push(() => {
			if (type === "radio") input.checked = state[name] === input.value;
			else input[key] = state[name];
			input.disabled = !isUsed();
		});
		return input;
	}

	function slider(name, isUsed) {
		const [low, high, step = 1] = RANGES[name];
		const input = control("input", name, { type: "range", min: low, max: high, step }, isUsed);
		const shown = make("span.value", { "aria-hidden": true });
		updates.unshift(() => {
			if (name === "block_size") input.max = max(state.height, state.width, state[name]);
			const x = state[name];
			shown.textContent = step < 1 && +x.toFixed(2) === x ? x.toFixed(2) : short(x);
		});
		return make("label.slider", {}, make("code", {}, name), input, shown);
	}

	function choice(name, style, isUsed) {
		const group = make(`fieldset.${style}`, {}, make("legend", {}, name));
		for (const value in texts[name]) {
			const input = control("input", name, { type: "radio", name: `${id}-${name}`, value }, isUsed);
			const label = make("span");
			updates.push(() => {
				const other = name === "step" && state.method !== "dropblock";
				label.textContent = (other && texts.other_step[value]) || texts[name][value];
			});
			group.append(make("label", {}, input, label));
		}
		return group;
	}

	const check = (name, isUsed) => make("label.check", {},
		control("input", name, { type: "checkbox" }, isUsed), texts.controls[name]);

	const cellText = make("p.cell", { id: `${id}-cell`, "aria-live": "polite" });
	const stage = make("div.stage");
	const explanation = make("p.explanation");
	const call = make("code");
	const status = make("p.status", { role: "status" });

	const legend = make("p.legend");
	for (const name in texts.legend) {
		const word = make("span", { class: name }, texts.legend[name]);
		const isMark = name === "seed" || name === "valid";
		updates.push(() => {
			const { step, compare, marks } = state;
			// Their own step shows seeds even without marks.
			word.hidden = isMark && !marks && (name === "valid" || step !== "seeds");
			word.classList.toggle("unused", step === "map" ? name !== "kept"
				: isMark ? !hasBlocks()
				: step === "seeds" && (name === "kept" || (hasBlocks() && !compare)));
		});
		legend.append(word);
	}

	const picture = control("select", "picture", {});
	for (const value in texts.picture)
		picture.append(make("option", { value }, texts.picture[value]));

	const readouts = make("dl.readouts");
	for (const name in texts.readouts) {
		const [label, meaning] = texts.readouts[name];
		const data = make("data", { "data-readout": name });
		const below = make("dd");
		updates.push(() => {
			data.value = result[name];
			data.textContent = print(name, result);
			below.textContent = name === "gamma" ? texts.chance[state.method] : meaning;
		});
		readouts.append(make("div", {}, make("dt", {}, label), make("dd", {}, data), below));
	}

	const starters = (list) => list.map(({ label, state }) =>
		make("button", { onclick: () => set(state) }, label));
	const tries = make("div.tries", { role: "group", "aria-label": texts.try },
		...starters(model.get("_tries")));
	updates.push(() => {
		tries.hidden = given || !state.compare;
		root.classList.toggle("mask-explorer-compare", state.compare);
	});
	const link = share && make("button.link", {
		async onclick() {
			link.textContent = texts.controls[(await share(state)) ? "linked" : "address"];
			setTimeout(() => (link.textContent = texts.controls.link), 2000);
		},
	}, texts.controls.link);

	root.replaceChildren(make("div.body", {},
		tries,
		choice("method", "methods"),
		stage,
		legend,
		make("div.knobs", {},
			slider("keep_prob"),
			slider("block_size", hasBlocks),
			make("button.noise", {
				"data-control": "seed",
				onclick: () => set({ seed: (state.seed + 1) % 2 ** 32 }),
			}, texts.controls.noise)),
		make("div.steps", {}, choice("step", "methods"), explanation, cellText),
		readouts,
		make("details.more", {}, make("summary", {}, texts.controls.more),
			!given && make("div.sizes", {}, slider("height"), slider("width"), slider("channels")),
			make("div.row", {},
				choice("gamma", "pair", hasBlocks),
				check("compare"),
				check("marks", () => hasBlocks() && state.step !== "map"),
				check("per_channel", () => state.channels > 1)),
			!given && make("div.row", {},
				make("label.picture", {}, texts.controls.picture, picture),
				texts.controls.presets, ...starters(Object.values(model.get("_presets")))),
			make("p.call", {}, texts.controls.call, " ", call),
			link,
			!given && make("p.credit", {}, texts.credit)),
		status));

	// === One method's maps ===

	function panel(method) {
		const name = texts.method[method];
		const canvas = make("canvas.map", {
			tabindex: 0, role: "application", "aria-describedby": `${id}-cell`,
			onpointermove: point, onpointerdown: point, onkeydown: walk,
		});
		const rate = make("p.rate");
		const strip = make("div.channels", { role: "group", "aria-label": name });
		const element = make("div.panel", { "data-method": method }, canvas, rate, strip);
		const thumbs = [];
		let result, unit, left, top;

		// Where a channel's mask starts.
		const maskAt = (channel) => (result.masks > 1 ? channel : 0) * state.height * state.width;
		const blockAt = ([row, column]) => {
			const [kh, kw] = result.block;
			return [row - (kh >> 1), column - (kw >> 1), kh, kw];
		};
		function seeds() {
			const { height, width, channel } = state;
			const found = [];
			for (let at = 0; at < height * width; at++)
				if (result.seeds[maskAt(channel) + at]) found.push([floor(at / width), at % width]);
			return found;
		}
		// Where a unit's random number is. A whole channel has one, at its center.
		const place = (at) =>
			method === "spatial" ? result.valid[0] * state.width + result.valid[1] : at;

		// A unit's number at this step: noise, 0 or 1, or a value.
		function numberAt(channel, at) {
			const { height, width, step } = state;
			const mask = maskAt(channel) + at;
			if (step === "seeds") {
				const drawn = place(at);
				return isOn(result.valid, floor(drawn / width), drawn % width)
					? result.noise[mask - at + drawn] : NaN;
			}
			if (step === "blocks") return result.keep[mask];
			if (step !== "map" && !result.keep[mask]) return 0;
			return values[channel * height * width + at] * (step === "scale" ? result.scale : 1);
		}

		function colorAt(channel, at, number) {
			const { step } = state;
			const mask = maskAt(channel) + at;
			if (step === "seeds") {
				if (number < result.gamma) return colors[method === "dropblock" ? "seed" : "dropped"];
				return colors.noises[Math.round(100 * number)] ?? colors.paper;
			}
			if (step !== "map" && !result.keep[mask]) return colors.dropped;
			if (step === "blocks") return colors.kept;
			// Leaves room for scaled values.
			return colors.tints[Math.round(clip(90 * (number - low) / (white - low), 0, 100))];
		}

		// One pixel per unit, enlarged where it is shown.
		function fill(small, channel) {
			small.width = state.width;
			small.height = state.height;
			const pen = small.getContext("2d");
			const image = pen.createImageData(small.width, small.height);
			const pixels = new Uint32Array(image.data.buffer);
			for (let at = 0; at < pixels.length; at++)
				pixels[at] = colorAt(channel, at, numberAt(channel, at)).pixel;
			pen.putImageData(image, 0, 0);
		}

		function drawMap() {
			const { height, width, channel } = state;
			const side = canvas.clientWidth || 320;
			unit = side / max(height, width);
			left = (side - unit * width) / 2;
			top = (side - unit * height) / 2;
			canvas.width = canvas.height = side * devicePixelRatio;
			const pen = canvas.getContext("2d");
			pen.scale(devicePixelRatio, devicePixelRatio);
			pen.translate(left, top);
			pen.imageSmoothingEnabled = false;
			pen.drawImage(thumbs[channel].firstChild, 0, 0, unit * width, unit * height);

			const outline = (color, line, boxes) => {
				pen.strokeStyle = color.css;
				pen.lineWidth = line;
				pen.beginPath();
				for (const [row, column, rows, columns] of boxes)
					pen.rect(column * unit, row * unit, columns * unit, rows * unit);
				pen.stroke();
			};
			if (unit >= 14) {
				const lines = [];
				for (let i = 1; i < height; i++) lines.push([i, 0, 0, width]);
				for (let i = 1; i < width; i++) lines.push([0, i, height, 0]);
				outline(colors.paper, 1, lines);
			}
			const mark = (seeds) => outline(colors.seed, clip(unit * 0.14, 1.5, 4),
				seeds.map(([row, column]) => [row + 0.16, column + 0.16, 0.68, 0.68]));
			if (method === "dropblock" && state.marks && state.step !== "map") {
				outline(colors.valid, 2.5, [result.valid]);
				mark(seeds());
			}
			if (unit >= 26) {
				pen.font = `${min(unit * 0.34, 20)}px system-ui, sans-serif`;
				pen.textAlign = "center";
				pen.textBaseline = "middle";
				for (let at = 0; at < height * width; at++) {
					const number = numberAt(channel, at);
					if (isNaN(number)) continue;
					// At 0.179, black and white text have the same contrast.
					pen.fillStyle = colorAt(channel, at, number).light > 0.179 ? "#000" : "#fff";
					const text = state.step === "seeds" ? number.toFixed(2).slice(1) : short(number);
					pen.fillText(text, ((at % width) + 0.5) * unit, (floor(at / width) + 0.54) * unit);
				}
			}
			if (cell) {
				const boxes = [...reasons().map(blockAt), [...cell, 1, 1]];
				outline(colors.paper, 5, boxes);
				outline(colors.ink, 2, boxes);
				if (method === "dropblock") mark(reasons());
			}
		}

		function drawChannels() {
			const { channels } = state;
			strip.hidden = channels === 1;
			while (thumbs.length > channels) thumbs.pop().remove();
			while (thumbs.length < channels) {
				const channel = thumbs.length;
				thumbs.push(make("button", {
					"aria-label": `${name} ${channel + 1}`,
					onclick: () => set({ channel }),
				}, make("canvas")));
				strip.append(thumbs[channel]);
			}
			thumbs.forEach((button, channel) => {
				button.setAttribute("aria-pressed", channel === state.channel);
				fill(button.firstChild, channel);
			});
			drawMap();
		}

		// === One unit: its value, and why ===

		// The seeds whose blocks cover it.
		const reasons = () => {
			const [row, column] = cell;
			return seeds().filter((seed) => isOn(blockAt(seed), row, column));
		};

		function look(at, isChosen) {
			cell = at;
			spoken = method;
			describe();
			for (const each of panels) each.drawMap();
			if (isChosen && method !== state.method) set({ method });
		}

		function point(event) {
			const row = floor((event.offsetY - top) / unit);
			const column = floor((event.offsetX - left) / unit);
			if (isOn([0, 0, state.height, state.width], row, column))
				look([row, column], event.type === "pointerdown");
		}

		function walk(event) {
			if (event.key === "Escape") look();
			const step = {
				ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
			}[event.key];
			if (!step) return;
			event.preventDefault();
			const last = [state.height - 1, state.width - 1];
			look(step.map((by, axis) => (cell ? clip(cell[axis] + by, 0, last[axis]) : 0)));
		}

		function tell() {
			const [row, column] = cell;
			const { channel, height, width } = state;
			const { gamma, noise, seeds, keep, scale } = result;
			const at = row * width + column;
			const mask = maskAt(channel);
			const [[seed_row, seed_column] = [], ...others] = reasons();
			const value = values[channel * height * width + at];
			let cause = keep[mask + at] ? `${method}-kept` : method;
			if (cause === "dropblock" && seeds[mask + at]) cause = "seed";
			const why = say(texts.why[cause], {
				seed_row, seed_column,
				gamma: short(gamma),
				noise: noise[mask + place(at)].toFixed(4),
				others: others.length ? say(texts.why.others, { number: others.length }) : "",
			});
			return say(texts.unit, {
				name, row, column, why,
				value: short(value),
				result: short(keep[mask + at] * value * scale),
			});
		}

		function update() {
			result = explore({ ...state, method });
			element.classList.toggle("chosen", state.compare && method === state.method);
			rate.textContent = say(texts.share, { realized: `${(100 * result.realized).toFixed(1)}%` });
			canvas.setAttribute("aria-label", say(texts.map, { ...state, name, number: state.channel + 1 }));
			return result;
		}

		return { method, element, canvas, update, drawChannels, drawMap, tell };
	}

	// === Following the state ===

	function describe() {
		const panel = panels.find(({ method }) => method === spoken) ?? panels[0];
		const text = cell ? panel.tell() : texts.point;
		// A live region is announced even if its text is the same.
		if (cellText.textContent !== text) cellText.textContent = text;
	}

	function explain() {
		const { block: [kh, kw], valid, kept, keep, masks, seeds } = result;
		const { step, method, gamma, per_channel } = state;
		const text = texts.explain[step === "scale" && !kept ? "nothing" : step];
		explanation.textContent = say(text[method] ?? text, {
			kh, kw, kept, masks,
			gamma: short(result.gamma),
			scale: short(result.scale),
			units: keep.length,
			places: `${valid[2]} x ${valid[3]}`,
			seeds: total(seeds),
		});
		call.textContent = say(texts.code[per_channel ? method : `${method}-shared`], {
			...state,
			rate: short(result.nominal),
			rule: gamma === "exact" ? ', gamma="exact"' : "",
		});
	}

	function update() {
		pending = false;
		state = Object.fromEntries(names.map((name) => [name, model.get(name)]));
		state.channel = min(state.channel, state.channels - 1);
		const { picture, height, width, channels, method, compare } = state;
		if (drawnFor !== (drawnFor = [picture, height, width, channels].join())) {
			values = given?.flat() ?? featureMap(model.get("_pictures")[picture], height, width, channels);
			low = values.reduce((a, b) => min(a, b), 0);
			white = values.reduce((a, b) => max(a, b));
			if (white <= low) white = low + 1;
			cell = null;
		}
		const shown = compare ? Object.keys(texts.method) : [method];
		if (panels.map(({ method }) => method).join() !== shown.join()) {
			panels = shown.map(panel);
			stage.replaceChildren(...panels.map(({ element }) => element));
			resized.disconnect();
			for (const { canvas } of panels) resized.observe(canvas);
		}
		for (const each of panels) {
			const found = each.update();
			if (each.method === method) result = found;
		}
		for (const follow of updates) follow();
		explain();
		describe();
		for (const each of panels) each.drawChannels();
	}

	function soon() {
		if (pending) return;
		pending = true;
		queueMicrotask(update);
		clearTimeout(timer);
		timer = setTimeout(() => {
			status.textContent = texts.status.replace(/{(\w+)}/g, (_, name) => print(name, result));
		}, 700);
	}

	function recolor() {
		const color = ([r, g, b]) => ({
			parts: [r, g, b],
			css: `rgb(${[r, g, b]})`,
			pixel: (255 << 24) | (b << 16) | (g << 8) | r,
			light: (0.21 * r ** 2.2 + 0.72 * g ** 2.2 + 0.07 * b ** 2.2) / 255 ** 2.2,
		});
		colors = {};
		for (const name of "paper ink kept dropped seed valid dim bright faint muted".split(" ")) {
			const hex = getComputedStyle(root).getPropertyValue(`--${name}`).trim();
			colors[name] = color([1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
		}
		const between = (from, to) => Array.from({ length: 101 }, (_, percent) =>
			color(from.parts.map((part, i) => part + (to.parts[i] - part) * percent / 100)));
		colors.tints = between(colors.dim, colors.bright);
		colors.noises = between(colors.muted, colors.faint);
		update();
	}

	for (const name of names) model.on(`change:${name}`, soon);
	const resized = new ResizeObserver(() => {
		for (const each of panels) each.drawMap();
	});
	recolor();
	const paper = matchMedia("print");
	paper.addEventListener("change", recolor);
	const themed = new MutationObserver(recolor);
	for (const node of [document.documentElement, document.body])
		themed.observe(node, { attributes: true });

	return () => {
		resized.disconnect();
		themed.disconnect();
		paper.removeEventListener("change", recolor);
		clearTimeout(timer);
		for (const name of names) model.off(`change:${name}`, soon);
	};
}

// === A page without a kernel ===

export function mount(place, number) {
	const state = JSON.parse(place.dataset.maskExplorer);
	const start = {};
	for (const name in state._tries[0].state) start[name] = state[name];
	let changed;
	const model = {
		get: (name) => state[name],
		set(name, value) {
			state[name] = value;
			changed?.();
		},
		save_changes() {},
		// The view registers one listener for every name.
		on: (_, listener) => (changed = listener),
	};
	// An address sets the first explorer of a page.
	const go = (hash) => {
		const changes = !number && readLink(hash, state._presets, start, state._texts);
		if (!changes) return;
		// The user's own feature map fixes these.
		if (state._values) for (const name of ["height", "width", "channels"]) delete changes[name];
		for (const name in changes) model.set(name, changes[name]);
		place.scrollIntoView({ block: place.clientHeight > innerHeight - 64 ? "start" : "nearest" });
	};
	go(location.hash);
	view(place, model, (now) => {
		history.replaceState(null, "", writeLink(now, start));
		return navigator.clipboard?.writeText(location.href).then(() => true, () => false);
	});
	addEventListener("hashchange", () => go(location.hash));
	// Following the same link again does not change the address.
	addEventListener("click", ({ target }) => go(target.closest("a")?.hash ?? ""));
}

export default {
	render({ model, el }) {
		el.classList.add("mask-explorer");
		return view(el, model);
	},
};
