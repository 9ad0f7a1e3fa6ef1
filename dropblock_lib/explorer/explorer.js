// The mask explorer. One module for notebooks (anywidget calls `render`) and for
// pages without a kernel (`mount`). Arrays are flat: mask or channel, row, column.

// === The numbers: the same as in noise.py, masks.py and pictures.py ===

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
	const perUnit = (1 - keepProb) / (kh * kw);
	return (perUnit * (height * width)) / ((height - kh + 1) * (width - kw + 1));
}

const clip = (x, low, high) => Math.min(Math.max(x, low), high);

// How many places of a seed would drop each unit, along one axis.
const covers = (block, side) =>
	Array.from(
		{ length: side },
		(_, i) => Math.min(i, side - block) - Math.max(i - block + 1, 0) + 1,
	);

// The counts that occur, each with the share of units that have it.
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
	if (gamma >= 1) return 1;
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
	return [Math.min(block_size, height), Math.min(block_size, width)];
}

// All that follows from the state but the feature map.
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
	const kept = keep.reduce((sum, unit) => sum + unit, 0);
	return {
		block, valid, masks, noise: field, seeds, keep, kept,
		gamma: probability,
		nominal: 1 - keepProb,
		expected: expectedDropRate(probability, block, [height, width]),
		realized: 1 - kept / keep.length,
		scale: keep.length / Math.max(kept, 1),
	};
}

export function featureMap(picture, height, width, channels) {
	const rows = picture.rows.map((row) =>
		[...row].map((digit) => parseInt(digit, 36) * picture.unit),
	);
	const look = (v, u) => {
		const y = clip(v * rows.length - 0.5, 0, rows.length - 1);
		const x = clip(u * rows[0].length - 0.5, 0, rows[0].length - 1);
		const upper = rows[Math.floor(y)];
		const lower = rows[Math.min(Math.floor(y) + 1, rows.length - 1)];
		const left = Math.floor(x);
		const right = Math.min(left + 1, upper.length - 1);
		const across = (row) => row[left] * (1 - x + left) + row[right] * (x - left);
		return across(upper) * (1 - y + Math.floor(y)) + across(lower) * (y - Math.floor(y));
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
						? Math.max(look(v + dv, u + du) - look(v - dv, u - du), 0)
						: look(v, u);
			}
	}
	return values;
}

// === Elements ===

const percent = (x) => `${(100 * x).toFixed(2)} %`;
const short = (x) => String(Number(x.toPrecision(3)));
const PRINT = {
	gamma: (x) => x.toPrecision(4),
	nominal: percent,
	expected: percent,
	realized: percent,
	scale: (x) => `×${x.toFixed(3)}`,
};

const say = (words, values) => words.replace(/{(\w+)}/g, (_, name) => values[name]);

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
	const words = model.get("_words");
	const presets = Object.values(model.get("_presets"));
	const names = Object.keys(presets[0].state);
	const given = model.get("_values");
	const updates = [];
	const thumbs = [];
	let state, result, values, white, colors, unit, left, top, drawnFor, cell, announcing, pending;

	const set = (changes) => {
		for (const name in changes) model.set(name, changes[name]);
		model.save_changes();
	};

	// Each control sets the state, and follows it when it changes elsewhere.
	function slider(name, low, high, step = 1, print = String) {
		const input = make("input", {
			type: "range", min: low, step, "data-control": name,
			oninput: () => set({ [name]: +input.value }),
		});
		const shown = make("span.value", { "aria-hidden": true });
		updates.push(() => {
			input.max = high();
			input.value = state[name];
			shown.textContent = print(state[name]);
		});
		return make("label.slider", {}, make("code", {}, name), input, shown);
	}

	function choice(name, style) {
		const group = make(`fieldset.${style}`, {}, make("legend", {}, name));
		for (const value in words[name]) {
			const input = make("input", {
				type: "radio", name: `${id}-${name}`, value, "data-control": name,
				onchange: () => set({ [name]: value }),
			});
			updates.push(() => (input.checked = state[name] === value));
			group.append(make("label", {}, input, make("span", {}, words[name][value])));
		}
		return group;
	}

	function check(name) {
		const input = make("input", {
			type: "checkbox", "data-control": name,
			onchange: () => set({ [name]: input.checked }),
		});
		updates.push(() => (input.checked = state[name]));
		return make("label.check", {}, input, words.controls[name]);
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
		onpointerleave: () => look(),
		onblur: () => look(),
	});
	const cellWords = make("p.cell", { id: `${id}-cell`, "aria-live": "polite" });
	const strip = make("div.channels", { role: "group" });
	const explanation = make("p.explanation");
	const call = make("code");
	const status = make("p.status", { role: "status" });

	const legend = make("p.legend");
	for (const name in words.legend)
		legend.append(make("span", { class: name }, words.legend[name]));

	const picture = make("select", {
		"data-control": "picture", onchange: () => set({ picture: picture.value }),
	});
	for (const value in words.picture)
		picture.append(make("option", { value }, words.picture[value]));
	updates.push(() => (picture.value = state.picture));

	const readouts = make("dl.readouts");
	for (const name in words.readouts) {
		const [label, meaning] = words.readouts[name];
		const data = make("data", { "data-readout": name });
		updates.push(() => {
			data.value = result[name];
			data.textContent = PRINT[name](result[name]);
		});
		readouts.append(make("div", {},
			make("dt", {}, label), make("dd", {}, data), make("dd", {}, meaning)));
	}

	const examples = make("div.examples", { role: "group" }, words.controls.presets);
	for (const { label, state } of presets)
		examples.append(make("button", { type: "button", onclick: () => set(state) }, label));

	root.replaceChildren(make("div.body", {},
		choice("method", "methods"),
		make("div.stage", {}, canvas, legend, cellWords, strip),
		make("div.knobs", {},
			slider("keep_prob", 0.05, () => 1, 0.01, (x) => x.toFixed(2)),
			shownIf(isBlock, slider("block_size", 1,
				() => Math.max(state.height, state.width, state.block_size))),
			make("div.row", {},
				make("button.noise", {
					type: "button", "data-control": "seed",
					onclick: () => set({ seed: (state.seed + 1) % 2 ** 32 }),
				}, words.controls.noise),
				check("marks"))),
		readouts,
		make("div.steps", {}, choice("step", "methods"), explanation),
		make("div.options", {},
			shownIf(isFree, make("div.sizes", {},
				...["height", "width"].map((name) => slider(name, 1, () => 64)),
				slider("channels", 1, () => 16))),
			make("div.row", {},
				shownIf(isBlock, choice("gamma", "pair")),
				shownIf(() => state.channels > 1, check("per_channel")),
				shownIf(isFree, make("label.picture", {}, words.controls.picture, picture))),
			shownIf(isFree, examples)),
		make("p.call", {}, words.controls.call, " ", call),
		status));

	// === Drawing ===

	const blend = (over, under, alpha) =>
		over.map((part, i) => part * alpha + under[i] * (1 - alpha));
	const css = (color) => `rgb(${color})`;

	// Where the mask of a channel starts: a shared one serves all of them.
	const maskAt = (channel) =>
		(result.masks > 1 ? channel : 0) * state.height * state.width;
	const isValid = (row, column) => {
		const { top, left, height, width } = result.valid;
		return row >= top && row < top + height && column >= left && column < left + width;
	};

	// A color and a number for each unit, as the step has it.
	function cellsOf(channel) {
		const { height, width, step } = state;
		const { paper, muted, kept, dropped } = colors;
		const first = maskAt(channel);
		const strength = step === "scale" ? result.scale : 1;
		return Array.from({ length: height * width }, (_, at) => {
			if (step === "seeds") {
				if (!isValid(Math.floor(at / width), at % width)) return [blend(muted, paper, 0.06)];
				const drawn = result.noise[first + at];
				const isSeed = result.seeds[first + at];
				return [isSeed ? colors.seed : blend(muted, paper, 0.5 - 0.36 * drawn), drawn];
			}
			if (step !== "map" && !result.keep[first + at]) return [dropped, 0];
			if (step === "blocks") return [blend(kept, paper, 0.25), 1];
			const value = values[channel * height * width + at] * strength;
			return [blend(kept, paper, clip(0.1 + (0.45 * value) / white, 0.1, 1)), value];
		});
	}

	// One pixel a unit; whoever shows it makes the pixels larger.
	function fill(small, cells) {
		small.width = state.width;
		small.height = state.height;
		const pen = small.getContext("2d");
		const image = pen.createImageData(small.width, small.height);
		image.data.fill(255);
		cells.forEach(([color], at) => image.data.set(color, 4 * at));
		pen.putImageData(image, 0, 0);
		return small;
	}

	function drawMap(cells = cellsOf(state.channel)) {
		const { height, width } = state;
		const side = canvas.clientWidth || 320;
		const dense = window.devicePixelRatio;
		unit = side / Math.max(height, width);
		left = (side - unit * width) / 2;
		top = (side - unit * height) / 2;
		canvas.width = canvas.height = side * dense;
		const pen = canvas.getContext("2d");
		pen.scale(dense, dense);
		pen.translate(left, top);
		pen.imageSmoothingEnabled = false;
		pen.drawImage(fill(make("canvas"), cells), 0, 0, unit * width, unit * height);

		const frame = (y, x, rows, columns, inset, color, line) => {
			pen.strokeStyle = css(color);
			pen.lineWidth = line;
			pen.strokeRect((x + inset) * unit, (y + inset) * unit,
				(columns - 2 * inset) * unit, (rows - 2 * inset) * unit);
		};
		if (unit >= 7) {
			pen.fillStyle = css(colors.paper);
			for (let i = 1; i < height; i++) pen.fillRect(0, i * unit - 0.5, width * unit, 1);
			for (let i = 1; i < width; i++) pen.fillRect(i * unit - 0.5, 0, 1, height * unit);
		}
		if (state.marks && state.step !== "map") {
			const { valid, seeds } = result;
			frame(valid.top, valid.left, valid.height, valid.width, 0, colors.valid, 2.5);
			const first = maskAt(state.channel);
			for (let at = 0; at < height * width; at++)
				if (seeds[first + at])
					frame(Math.floor(at / width), at % width, 1, 1, 0.16, colors.seed, Math.max(1, unit * 0.1));
		}
		if (unit >= 26) {
			pen.font = `${Math.min(unit * 0.34, 20)}px system-ui, sans-serif`;
			pen.textAlign = "center";
			pen.textBaseline = "middle";
			const light = ([r, g, b]) => 0.3 * r + 0.59 * g + 0.11 * b;
			cells.forEach(([color, number], at) => {
				const away = (name) => Math.abs(light(colors[name]) - light(color));
				pen.fillStyle = css(colors[away("ink") > away("paper") ? "ink" : "paper"]);
				if (number === undefined) return;
				const text = state.step === "seeds" ? number.toFixed(2).slice(1) : short(number);
				pen.fillText(text, ((at % width) + 0.5) * unit, (Math.floor(at / width) + 0.54) * unit);
			});
		}
		if (cell) frame(...cell, 1, 1, 0, colors.ink, 2);
	}

	function drawChannels() {
		const { channels } = state;
		strip.hidden = channels === 1;
		while (thumbs.length > channels) thumbs.pop().remove();
		while (thumbs.length < channels) {
			const channel = thumbs.length;
			thumbs.push(make("button", {
				type: "button", "aria-label": `channel ${channel + 1}`,
				onclick: () => set({ channel }),
			}, make("canvas")));
			strip.append(thumbs[channel]);
		}
		thumbs.forEach((button, channel) => {
			const cells = cellsOf(channel);
			button.setAttribute("aria-pressed", channel === state.channel);
			fill(button.firstChild, cells);
			if (channel === state.channel) drawMap(cells);
		});
	}

	// === One unit: what is there, and why ===

	function look(row, column) {
		cell = row === undefined ? null : [row, column];
		describe();
		drawMap();
	}

	function point(event) {
		const row = Math.floor((event.offsetY - top) / unit);
		const column = Math.floor((event.offsetX - left) / unit);
		if (row < 0 || row >= state.height || column < 0 || column >= state.width) look();
		else if (String(cell) !== `${row},${column}`) look(row, column);
	}

	function walk(event) {
		const [down, right] = {
			ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
		}[event.key] ?? [];
		if (down === undefined) return;
		event.preventDefault();
		const [row, column] = cell ?? [-down, -right];
		look(clip(row + down, 0, state.height - 1), clip(column + right, 0, state.width - 1));
	}

	function describe() {
		if (!cell) return (cellWords.textContent = words.point);
		const [row, column] = cell;
		const at = row * state.width + column;
		const mask = maskAt(state.channel) + at;
		const value = values[state.channel * state.height * state.width + at];
		cellWords.textContent = say(words.unit, {
			row, column,
			value: short(value),
			result: short(result.keep[mask] * value * result.scale),
			drawn: isValid(row, column)
				? say(words.noise, {
						noise: result.noise[mask].toFixed(4),
						seed: result.seeds[mask] ? "a seed" : "no seed",
					})
				: words.outside,
		});
	}

	// === Keeping up with the state ===

	function explain() {
		const { block: [kh, kw], valid, kept, keep, masks, seeds } = result;
		const { step, method, gamma, per_channel } = state;
		const nothing = step === "scale" && !kept;
		explanation.textContent = say(words.explain[nothing ? "nothing" : step], {
			kh, kw, kept, masks,
			units: keep.length,
			places: `${valid.height} x ${valid.width}`,
			seeds: seeds.reduce((sum, seed) => sum + seed, 0),
		});
		call.textContent = say(words.code[per_channel ? method : `${method}-shared`], {
			...state,
			rate: short(result.nominal),
			rule: gamma === "exact" ? ', gamma="exact"' : "",
		});
		canvas.setAttribute("aria-label", say(words.map, { ...state, number: state.channel + 1 }));
	}

	function update() {
		pending = false;
		state = Object.fromEntries(names.map((name) => [name, model.get(name)]));
		state.channel = Math.min(state.channel, state.channels - 1);
		result = explore(state);
		const { picture, height, width, channels } = state;
		if (drawnFor !== (drawnFor = [picture, height, width, channels].join())) {
			values = given?.flat() ?? featureMap(model.get("_pictures")[picture], height, width, channels);
			white = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
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
		clearTimeout(announcing);
		announcing = setTimeout(() => {
			const printed = Object.entries(PRINT).map(([name, print]) => [name, print(result[name])]);
			status.textContent = say(words.status, Object.fromEntries(printed));
		}, 700);
	}

	function recolor() {
		const style = getComputedStyle(root);
		colors = Object.fromEntries(
			["paper", "ink", "muted", "kept", "dropped", "seed", "valid"].map((name) => {
				const hex = style.getPropertyValue(`--${name}`).trim();
				return [name, [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16))];
			}),
		);
		update();
	}

	for (const name of names) model.on(`change:${name}`, soon);
	recolor();
	const resized = new ResizeObserver(() => drawMap());
	resized.observe(canvas);
	const themed = new MutationObserver(recolor);
	for (const element of [document.documentElement, document.body])
		themed.observe(element, { attributes: true });

	return () => {
		resized.disconnect();
		themed.disconnect();
		clearTimeout(announcing);
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
		// The view asks for every name, with one listener.
		on: (_, listener) => (changed = listener),
	});
}

export default {
	render({ model, el }) {
		el.classList.add("mask-explorer");
		return view(el, model);
	},
};
