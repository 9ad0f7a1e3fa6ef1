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

export function noise(seed, masks, height, width) {
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

// Each count that occurs, with the share of units that have it.
function coverShares([kh, kw], [height, width]) {
	const shares = new Map();
	for (const down of covers(kh, height))
		for (const across of covers(kw, width)) {
			const count = down * across;
			shares.set(count, (shares.get(count) ?? 0) + 1 / (height * width));
		}
	return [...shares];
}

export function expectedDropRate(gamma, block, size) {
	const log = Math.log1p(-gamma);
	return -coverShares(block, size).reduce(
		(sum, [count, share]) => sum + share * Math.expm1(count * log),
		0,
	);
}

export function exactGamma(keepProb, block, size) {
	const shares = coverShares(block, size);
	const mean = (of) =>
		shares.reduce((sum, [count, share]) => sum + share * of(count), 0);
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

// Everything computed from the state but the feature map.
export function explore(state) {
	const { height, width, channels, keep_prob: keepProb } = state;
	const block = blockOf(state);
	const [kh, kw] = block;
	const top = kh >> 1;
	const left = kw >> 1;
	const valid = { top, left, height: height - kh + 1, width: width - kw + 1 };
	const rule = state.gamma === "exact" ? exactGamma : gamma;
	const probability = rule(keepProb, block, [height, width]);
	const masks = state.per_channel ? channels : 1;
	const field = noise(state.seed, masks, height, width);
	const seeds = new Uint8Array(field.length);
	const keep = new Uint8Array(field.length).fill(1);
	for (let mask = 0; mask < masks; mask++)
		for (let row = top; row < top + valid.height; row++)
			for (let column = left; column < left + valid.width; column++) {
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
		scale: keep.length / max(kept, 1),
	};
}

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

// === Elements ===

const short = (x) => String(Number(x.toPrecision(3)));

function print(name, x) {
	if (name === "gamma") return x.toPrecision(4);
	return name === "scale" ? `×${x.toFixed(3)}` : `${(100 * x).toFixed(2)}%`;
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
	element.append(...children);
	return element;
}

let views = 0;

function view(root, model) {
	const id = `mask-explorer-${++views}`;
	const texts = model.get("_texts");
	const presets = Object.values(model.get("_presets"));
	const names = Object.keys(presets[0].state);
	const given = model.get("_values");
	const updates = [];
	const thumbs = [];
	let state, result, values, white, colors, unit, left, top, drawnFor, cell, timer, pending;

	const set = (changes) => {
		for (const name in changes) model.set(name, changes[name]);
		model.save_changes();
	};

	// Each control sets the state, and follows changes of it from elsewhere.
	function slider(name, low, high, step = 1, digits = 0) {
		const input = make("input", {
			type: "range", min: low, step, "data-control": name,
			oninput: () => set({ [name]: +input.value }),
		});
		const shown = make("span.value", { "aria-hidden": true });
		updates.push(() => {
			input.max = high();
			input.value = state[name];
			shown.textContent = state[name].toFixed(digits);
		});
		return make("label.slider", {}, make("code", {}, name), input, shown);
	}

	function choice(name, style) {
		const group = make(`fieldset.${style}`, {}, make("legend", {}, name));
		for (const value in texts[name]) {
			const input = make("input", {
				type: "radio", name: `${id}-${name}`, value, "data-control": name,
				onchange: () => set({ [name]: value }),
			});
			updates.push(() => (input.checked = state[name] === value));
			group.append(make("label", {}, input, make("span", {}, texts[name][value])));
		}
		return group;
	}

	function check(name) {
		const input = make("input", {
			type: "checkbox", "data-control": name,
			onchange: () => set({ [name]: input.checked }),
		});
		updates.push(() => (input.checked = state[name]));
		return make("label.check", {}, input, texts.controls[name]);
	}

	const shownIf = (test, element) => {
		updates.push(() => (element.hidden = !test()));
		return element;
	};
	const isBlock = () => state.method === "dropblock";
	const isFree = () => !given;

	const canvas = make("canvas.map", {
		tabindex: 0, role: "application", "aria-describedby": `${id}-cell`,
		onpointermove: point, onpointerdown: point, onkeydown: walk,
		onpointerleave: look, onblur: look,
	});
	const cellText = make("p.cell", { id: `${id}-cell`, "aria-live": "polite" });
	const strip = make("div.channels", { role: "group" });
	const explanation = make("p.explanation");
	const call = make("code");
	const status = make("p.status", { role: "status" });

	const legend = make("p.legend");
	for (const name in texts.legend)
		legend.append(make("span", { class: name }, texts.legend[name]));

	const picture = make("select", {
		"data-control": "picture", onchange: () => set({ picture: picture.value }),
	});
	for (const value in texts.picture)
		picture.append(make("option", { value }, texts.picture[value]));
	updates.push(() => (picture.value = state.picture));

	const readouts = make("dl.readouts");
	for (const name in texts.readouts) {
		const [label, meaning] = texts.readouts[name];
		const data = make("data", { "data-readout": name });
		updates.push(() => {
			data.value = result[name];
			data.textContent = print(name, result[name]);
		});
		readouts.append(make("div", {},
			make("dt", {}, label), make("dd", {}, data), make("dd", {}, meaning)));
	}

	const examples = make("div.examples", { role: "group" }, texts.controls.presets);
	for (const { label, state } of presets)
		examples.append(make("button", { onclick: () => set(state) }, label));

	root.replaceChildren(make("div.body", {},
		choice("method", "methods"),
		make("div.stage", {}, canvas, legend, cellText, strip),
		make("div.knobs", {},
			slider("keep_prob", 0.05, () => 1, 0.01, 2),
			shownIf(isBlock, slider("block_size", 1,
				() => max(state.height, state.width, state.block_size))),
			make("div.row", {},
				make("button.noise", {
					"data-control": "seed",
					onclick: () => set({ seed: (state.seed + 1) % 2 ** 32 }),
				}, texts.controls.noise),
				check("marks"))),
		readouts,
		make("div.steps", {}, choice("step", "methods"), explanation),
		make("div.options", {},
			shownIf(isFree, make("div.sizes", {},
				slider("height", 1, () => 64), slider("width", 1, () => 64),
				slider("channels", 1, () => 16))),
			make("div.row", {},
				shownIf(isBlock, choice("gamma", "pair")),
				shownIf(() => state.channels > 1, check("per_channel")),
				shownIf(isFree, make("label.picture", {}, texts.controls.picture, picture))),
			shownIf(isFree, examples)),
		make("p.call", {}, texts.controls.call, " ", call),
		status));

	// === Drawing ===

	const css = ([r, g, b]) => `rgb(${r}, ${g}, ${b})`;

	// The start of a channel's mask: channels may share one.
	const maskAt = (channel) =>
		(result.masks > 1 ? channel : 0) * state.height * state.width;
	const isValid = (row, column) => {
		const { top, left, height, width } = result.valid;
		return row >= top && row < top + height && column >= left && column < left + width;
	};

	// A unit's number at this step: noise, 0 or 1, or a value.
	function numberAt(channel, at) {
		const { height, width, step } = state;
		const mask = maskAt(channel) + at;
		if (step === "seeds")
			return isValid(floor(at / width), at % width) ? result.noise[mask] : NaN;
		if (step === "blocks") return result.keep[mask];
		if (step !== "map" && !result.keep[mask]) return 0;
		return values[channel * height * width + at] * (step === "scale" ? result.scale : 1);
	}

	function colorAt(channel, at, number) {
		const { step } = state;
		const mask = maskAt(channel) + at;
		if (step === "seeds") {
			if (result.seeds[mask]) return colors.seed;
			return colors.mutedTints[number >= 0 ? Math.round(50 - 36 * number) : 6];
		}
		if (step !== "map" && !result.keep[mask]) return colors.dropped;
		if (step === "blocks") return colors.keptTints[25];
		return colors.keptTints[Math.round(clip(10 + (45 * number) / white, 10, 100))];
	}

	// One pixel per unit, enlarged where it is shown.
	function fill(small, channel) {
		small.width = state.width;
		small.height = state.height;
		const pen = small.getContext("2d");
		const image = pen.createImageData(small.width, small.height);
		for (let at = 0; at < small.width * small.height; at++) {
			const color = colorAt(channel, at, numberAt(channel, at));
			for (let i = 0; i < 4; i++) image.data[4 * at + i] = color[i];
		}
		pen.putImageData(image, 0, 0);
	}

	function drawMap() {
		const { height, width, channel } = state;
		const side = canvas.clientWidth || 320;
		const dense = devicePixelRatio;
		unit = side / max(height, width);
		left = (side - unit * width) / 2;
		top = (side - unit * height) / 2;
		canvas.width = canvas.height = side * dense;
		const pen = canvas.getContext("2d");
		pen.scale(dense, dense);
		pen.translate(left, top);
		pen.imageSmoothingEnabled = false;
		pen.drawImage(thumbs[channel].firstChild, 0, 0, unit * width, unit * height);

		const outline = (color, line, ...boxes) => {
			pen.strokeStyle = css(color);
			pen.lineWidth = line;
			pen.beginPath();
			for (const [row, column, rows, columns] of boxes)
				pen.rect(column * unit, row * unit, columns * unit, rows * unit);
			pen.stroke();
		};
		if (unit >= 7) {
			pen.fillStyle = css(colors.paper);
			for (let i = 1; i < height; i++) pen.fillRect(0, i * unit - 0.5, width * unit, 1);
			for (let i = 1; i < width; i++) pen.fillRect(i * unit - 0.5, 0, 1, height * unit);
		}
		if (state.marks && state.step !== "map") {
			const { valid, seeds } = result;
			outline(colors.valid, 2.5, [valid.top, valid.left, valid.height, valid.width]);
			const boxes = [];
			for (let at = 0; at < height * width; at++)
				if (seeds[maskAt(channel) + at])
					boxes.push([floor(at / width) + 0.16, (at % width) + 0.16, 0.68, 0.68]);
			outline(colors.seed, max(1, unit * 0.1), ...boxes);
		}
		if (unit >= 26) {
			pen.font = `${min(unit * 0.34, 20)}px system-ui, sans-serif`;
			pen.textAlign = "center";
			pen.textBaseline = "middle";
			const light = ([r, g, b]) => 3 * r + 6 * g + b;
			for (let at = 0; at < height * width; at++) {
				const number = numberAt(channel, at);
				if (isNaN(number)) continue;
				const under = light(colorAt(channel, at, number));
				const away = (color) => abs(light(color) - under);
				pen.fillStyle = css(away(colors.ink) > away(colors.paper) ? colors.ink : colors.paper);
				const text = state.step === "seeds" ? number.toFixed(2).slice(1) : short(number);
				pen.fillText(text, ((at % width) + 0.5) * unit, (floor(at / width) + 0.54) * unit);
			}
		}
		if (cell) outline(colors.ink, 2, [...cell, 1, 1]);
	}

	function drawChannels() {
		const { channels } = state;
		strip.hidden = channels === 1;
		while (thumbs.length > channels) thumbs.pop().remove();
		while (thumbs.length < channels) {
			const channel = thumbs.length;
			thumbs.push(make("button", {
				"aria-label": `channel ${channel + 1}`,
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

	function look(event, at) {
		cell = at;
		describe();
		drawMap();
	}

	function point(event) {
		const row = floor((event.offsetY - top) / unit);
		const column = floor((event.offsetX - left) / unit);
		const isInside = row >= 0 && row < state.height && column >= 0 && column < state.width;
		look(event, isInside ? [row, column] : undefined);
	}

	function walk(event) {
		const [down, right] = {
			ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
		}[event.key] ?? [];
		if (down === undefined) return;
		event.preventDefault();
		const [row, column] = cell ?? [-down, -right];
		const { height, width } = state;
		look(event, [clip(row + down, 0, height - 1), clip(column + right, 0, width - 1)]);
	}

	function describe() {
		if (!cell) return (cellText.textContent = texts.point);
		const [row, column] = cell;
		const at = row * state.width + column;
		const mask = maskAt(state.channel) + at;
		const value = values[state.channel * state.height * state.width + at];
		cellText.textContent = say(texts.unit, {
			row, column,
			value: short(value),
			result: short(result.keep[mask] * value * result.scale),
			drawn: isValid(row, column)
				? say(texts.noise, {
						noise: result.noise[mask].toFixed(4),
						seed: result.seeds[mask] ? "a seed" : "no seed",
					})
				: texts.outside,
		});
	}

	// === Following the state ===

	function explain() {
		const { block: [kh, kw], valid, kept, keep, masks, seeds } = result;
		const { step, method, gamma, per_channel } = state;
		const nothing = step === "scale" && !kept;
		explanation.textContent = say(texts.explain[nothing ? "nothing" : step], {
			kh, kw, kept, masks,
			units: keep.length,
			places: `${valid.height} x ${valid.width}`,
			seeds: total(seeds),
		});
		call.textContent = say(texts.code[per_channel ? method : `${method}-shared`], {
			...state,
			rate: short(result.nominal),
			rule: gamma === "exact" ? ', gamma="exact"' : "",
		});
		canvas.setAttribute("aria-label", say(texts.map, { ...state, number: state.channel + 1 }));
	}

	function update() {
		pending = false;
		state = Object.fromEntries(names.map((name) => [name, model.get(name)]));
		state.channel = min(state.channel, state.channels - 1);
		result = explore(state);
		const { picture, height, width, channels } = state;
		if (drawnFor !== (drawnFor = [picture, height, width, channels].join())) {
			values = given?.flat() ?? featureMap(model.get("_pictures")[picture], height, width, channels);
			white = values.reduce((most, value) => max(most, abs(value)), 0) || 1;
			cell = null;
		}
		for (const follow of updates) follow();
		explain();
		describe();
		drawChannels();
	}

	function soon() {
		if (pending) return;
		pending = true;
		queueMicrotask(update);
		clearTimeout(timer);
		timer = setTimeout(() => {
			const printed = { ...result };
			for (const name in texts.readouts) printed[name] = print(name, result[name]);
			status.textContent = say(texts.status, printed);
		}, 700);
	}

	function recolor() {
		const style = getComputedStyle(root);
		colors = {};
		for (const name of ["paper", "ink", "muted", "kept", "dropped", "seed", "valid"]) {
			const hex = style.getPropertyValue(`--${name}`).trim();
			colors[name] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)).concat(255);
		}
		const tints = (over) => Array.from({ length: 101 }, (_, percent) =>
			over.map((part, i) => part * percent / 100 + colors.paper[i] * (1 - percent / 100)));
		colors.keptTints = tints(colors.kept);
		colors.mutedTints = tints(colors.muted);
		update();
	}

	for (const name of names) model.on(`change:${name}`, soon);
	recolor();
	const resized = new ResizeObserver(() => drawMap());
	resized.observe(canvas);
	const paper = matchMedia("print");
	paper.addEventListener("change", recolor);
	const themed = new MutationObserver(recolor);
	for (const element of [document.documentElement, document.body])
		themed.observe(element, { attributes: true });

	return () => {
		resized.disconnect();
		themed.disconnect();
		paper.removeEventListener("change", recolor);
		clearTimeout(timer);
		for (const name of names) model.off(`change:${name}`, soon);
	};
}

// === A page without a kernel ===

export function mount(place) {
	const state = JSON.parse(place.dataset.maskExplorer);
	let changed;
	view(place, {
		get: (name) => state[name],
		set(name, value) {
			state[name] = value;
			changed();
		},
		save_changes() {},
		// The view registers one listener for every name.
		on: (_, listener) => (changed = listener),
	});
}

export default {
	render({ model, el }) {
		el.classList.add("mask-explorer");
		return view(el, model);
	},
};
